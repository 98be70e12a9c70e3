"""Takes prompts from finished audits into a dossier: those that attacks with the weights found, such as Ring-A-Bell.

An attack finds tokens and draws these exact tokens. A dossier holds text, which the tokenizer cuts again, perhaps into other tokens.
So a prompt of a dossier may do less than the find did. `--regress` tries the finds themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from dmun_audit._util.errors import UsageError
from dmun_audit.discover.dossier_updates import folded_prompts, updated_dossier
from dmun_audit.evidence.run import Run
from dmun_audit.evidence.schema import FindRecord, ProbeImage, ProbeRecord
from dmun_audit.knowledge.check import TOKEN_SEARCH
from dmun_audit.knowledge.dossier import AdversarialPrompt, Dossier
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.plan.case import CONTROL_MODEL, Recipe, Side
from dmun_audit.probes.parts.token_attack import TokenAttack
from dmun_audit.probes.registry import probe_named, probes

_PLACE = "\ue000"  # a private character, which no prompt holds
_UNPRINTABLE = "\ufffd"


@dataclass(frozen=True)
class FoundPrompt:
    """A prompt that a probe found in one audit. `hits` and `images` count, for each side, images that show the target and all."""

    text: str
    probe: str
    run: str
    hits: dict[Side, int] = field(default_factory=dict)
    images: dict[Side, int] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, int]:
        """The prompts that brought the target back most often come first, those on the candidate before those on base."""
        return -self.hits.get("candidate", 0), -self.hits.get("base", 0)

    @property
    def note(self) -> str:
        """How it was found, as a sentence of the dossier."""
        counts = [f"{self.hits[side]} of {self.images[side]} on {_side(side)}" for side in sorted(self.images, reverse=True)]
        return f"found by the probe {self.probe} in the audit {self.run[:8]}, as tokens: {', '.join(counts)}"


@dataclass(frozen=True)
class AddedPrompts:
    """A dossier with found prompts at its front, these prompts, and the number of those that cannot be printed as text."""

    dossier: Dossier
    prompts: tuple[FoundPrompt, ...]
    unprintable: int


def with_found_prompts(dossier: Dossier, runs: Sequence[Run]) -> AddedPrompts:
    """The dossier with every prompt that an attack in one of `runs` found and that brought the target back, on candidate or base.

    Raises UsageError if there is none, or if the dossier holds all of them.
    """
    found = sorted((each for run in runs for each in _of_run(run)), key=lambda each: each.order)
    if not found:
        raise UsageError(
            "no attack of these audits found words that brought the target back",
            "only attacks that search words find prompts: " + ", ".join(_token_attacks()),
            "name an audit in which one of them did",
        )
    known = folded_prompts(dossier)
    printable = [each for each in found if _UNPRINTABLE not in each.text]
    added = list({fold(each.text): each for each in reversed(printable) if fold(each.text) not in known}.values())[::-1]
    if not added:
        raise UsageError(
            f"the dossier of {dossier.target.name} gets no new prompt",
            f"it holds {len(printable)} of the {len(found)} that were found, and the others cannot be printed as text",
            "name another audit",
        )
    new = [AdversarialPrompt(text=each.text, strategy=TOKEN_SEARCH, note=each.note) for each in added]
    audits = ", ".join(run.manifest.audit_hash[:8] for run in runs)
    sentence = (
        f"{len(new)} {'prompt' if len(new) == 1 else 'prompts'} found by attacks with the weights in the audits {audits} came in."
    )
    changed = updated_dossier(dossier, [*new, *dossier.adversarial], [sentence])
    return AddedPrompts(changed, tuple(added), len(found) - len(printable))


def _token_attacks() -> list[str]:
    return [probe.name for probe in probes() if isinstance(probe, TokenAttack)]


def _of_run(run: Run) -> Iterator[FoundPrompt]:
    attacks = [case.probe for case in run.cases if case.probe is not None and case.probe.name in _token_attacks()]
    for record in attacks:
        yield from _of_probe(run.manifest.audit_hash, record)


def _of_probe(run: str, record: ProbeRecord) -> Iterator[FoundPrompt]:
    """The prompts of one probe that brought the target back at least once, each with its counts over all finds."""
    drawn = [(text, find.model, image) for find in record.finds if not find.placebo for text, image in _drawn(record, find)]
    drawn = [each for each in drawn if each[1] != CONTROL_MODEL]
    for text, images in groupby(sorted(drawn, key=lambda each: each[0]), key=lambda each: each[0]):
        prompt = FoundPrompt(text, record.name, run)
        for _, side, image in images:
            prompt = replace(
                prompt,
                hits=prompt.hits | {side: prompt.hits.get(side, 0) + bool(image.detected)},
                images=prompt.images | {side: prompt.images.get(side, 0) + 1},
            )
        if any(prompt.hits.values()):
            yield prompt


def _drawn(record: ProbeRecord, find: FindRecord) -> Iterator[tuple[str, ProbeImage]]:
    """The text of each unit of a find, with the image that was drawn with it."""
    probe = probe_named(record.name)
    assert isinstance(probe, TokenAttack)
    recipe = Recipe(record.name, tuple(find.settings.items()))
    words = dict(zip(find.seeds, find.words, strict=True))
    for image in record.images:
        if (image.model, image.dose, image.placebo) == (find.model, find.dose, False) and image.seed in words:
            yield _filled(probe.written(recipe, image.prompt, _PLACE), words[image.seed].split()), image


def _filled(text: str, words: Sequence[str]) -> str:
    """A text with the words in its places, in order. Places without a word stay empty."""
    rest = iter(words)
    return " ".join("".join(next(rest, "") if letter == _PLACE else letter for letter in text).split())


def _side(side: Side) -> str:
    return "the candidate" if side == "candidate" else side
