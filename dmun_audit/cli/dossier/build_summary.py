"""What `dossier build` says at its end: what was built, what it is worth, what is missing, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from dmun_audit.knowledge.check import THIN
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.lengths import TokenCounter
from dmun_audit.knowledge.score import score


def remark_lines(lacking: Sequence[str]) -> Iterator[str]:
    """The remarks on what the dossier lacks, for the lines of progress; the summary says what makes it thin."""
    yield from (f"remark: {line}" for line in lacking if not line.startswith(THIN))


def lines(dossier: Dossier, counter: TokenCounter, output: Path) -> list[str]:
    """The last lines of the command."""
    facts, helpers = dossier.provenance, dossier.provenance.helpers
    made = (
        "curated by hand"
        if facts.questions is None
        else f"from {_answers(facts.questions, facts.tokens_in, facts.tokens_out)} of {facts.model}"
    )
    text = [
        f"{output}: {len(dossier.concepts)} nearby concepts, {len(dossier.adversarial)} adversarial prompts, "
        f"{len(dossier.compositions)} compositions, {made}"
    ]
    for helper in helpers:
        parts = ", ".join(helper.parts) or "nothing"
        text.append(f"  {helper.model} gave {parts}, in {_answers(helper.questions, helper.tokens_in, helper.tokens_out)}")
    text += [f"  {line}" for line in score(dossier, counter).lines()]
    if facts.thin:
        text += ["The dossier is thin:", *(f"  {sentence}" for sentence in facts.thin)]
    file, target = shlex.quote(str(output)), shlex.quote(dossier.target.name)
    text.append(f"Read it before you trust it:  dmun-audit dossier show {file}")
    if facts.thin:
        text.append(
            f"Ask another model for the rest:  dmun-audit dossier build {target} --start-from={file} --llm=… -o {_completed(output)}"
        )
    return text


def _completed(output: Path) -> str:
    return shlex.quote(str(output.with_name(f"{output.name.removesuffix('.json')}-complete.json")))


def _answers(questions: int | None, tokens_in: int | None, tokens_out: int | None) -> str:
    count = "1 answer" if questions == 1 else f"{questions or 0} answers"
    return f"{count} ({tokens_in or 0:,} tokens in, {tokens_out or 0:,} out)"
