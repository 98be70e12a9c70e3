"""From `--llm` to a frozen dossier: opens the language model and its transcript, conducts the interview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.interview import Brief, interview
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, open_language_model
from dmun_audit.knowledge.language_models.transcript import Transcript
from dmun_audit.store.files import held


@dataclass(frozen=True)
class Asking:
    """Which language model is asked and how; `transcript` is where its answers are kept."""

    reference: LanguageModelReference
    transcript: Path
    settings: Settings = field(default_factory=Settings)
    temperature: float = 0.7
    seed: int = 0

    @contextmanager
    def opened(self) -> Iterator[Transcript]:
        """The transcript with the model behind it (none behind one that is replayed), kept from other processes meanwhile.

        Raises UsageError where another process is writing to it.
        """
        if self.reference.kind == "transcript":
            yield Transcript(Path(self.reference.place).expanduser(), None)
            return
        path = self.transcript
        lock = path.with_name(f".{path.name}.lock")
        with held(lock, wait=False) as ours:
            if not ours:
                raise UsageError(f"{path} is being written by another command", "", "wait for it, or name another output")
            transcript = Transcript(path, open_language_model(self.reference, self.settings))
            try:
                yield transcript
            finally:
                transcript.release()
                lock.unlink(missing_ok=True)


def build_dossier(brief: Brief, asking: Asking, tell: Callable[[str], None] = lambda line: None) -> Dossier:
    """Interview the language model and freeze what it says. Answers are kept on the way, and asked for once only.

    Raises UsageError where no dossier comes of it, or where another process is writing to the same transcript.
    """
    with asking.opened() as transcript:
        dossier = interview(brief, Interviewer(transcript, asking.temperature, asking.seed, tell))
    return with_history(dossier, transcript.unsupported_parameters)


def with_history(dossier: Dossier, lines: Sequence[str]) -> Dossier:
    """The dossier with further sentences in its history, each once."""
    known = dossier.provenance.history
    added = tuple(line for line in dict.fromkeys(lines) if line not in known)
    provenance = dossier.provenance.model_copy(update={"history": known + added})
    return Dossier.model_validate(dossier.model_copy(update={"provenance": provenance}).model_dump())


def transcript_beside(dossier: Path, of: str = "") -> Path:
    """Where the answers behind a dossier are kept; `of` tells those of several models apart."""
    return dossier.with_name(dossier.name.removesuffix(".json") + of + ".transcript.jsonl")
