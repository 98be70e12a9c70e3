"""From a language model to a frozen dossier: opens the model with its transcript and conducts the interview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.interview import InterviewTask, interview
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.language_models.additions import Additions
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, open_language_model
from dmun_audit.knowledge.language_models.transcript import Transcript
from dmun_audit.store.files import held


@dataclass(frozen=True)
class LanguageModelAccess:
    """Which language model to ask, where its answers are kept (`transcript`), and how it samples.

    `additions` go with every request over HTTP. `on_open` gets the open transcript before the first question.
    """

    reference: LanguageModelReference
    transcript: Path
    settings: Settings = field(default_factory=Settings)
    temperature: float = 0.7
    seed: int = 0
    additions: Additions = field(default_factory=Additions)
    on_open: Callable[[Transcript], None] = lambda transcript: None

    @contextmanager
    def open_transcript(self) -> Iterator[Transcript]:
        """The transcript, with the model behind it unless the reference names a transcript to replay. Locked meanwhile.

        Raises UsageError if another process writes to it.
        """
        if self.reference.kind == "transcript":
            yield Transcript(expanded(self.reference.place), None)
            return
        path = self.transcript
        lock = path.with_name(f".{path.name}.lock")
        with held(lock, wait=False) as locked:
            if not locked:
                raise UsageError(f"{path} is being written by another command", "", "wait for it, or name another output")
            try:
                model = open_language_model(self.reference, self.settings, self.additions)
                transcript = Transcript(path, model, self.additions.options)
                try:
                    self.on_open(transcript)
                    yield transcript
                finally:
                    transcript.release()
            finally:
                lock.unlink(missing_ok=True)


def build_dossier(
    task: InterviewTask, access: LanguageModelAccess, on_progress: Callable[[str], None] = lambda line: None
) -> Dossier:
    """Interview the language model and freeze its answers in a dossier. `on_progress` gets lines for the user.

    Each answer is kept in the transcript, and no question is asked twice. Raises UsageError if the answers make no dossier, or if
    another process writes to the same transcript.
    """
    with access.open_transcript() as transcript:
        dossier = interview(task, Interviewer(transcript, access.temperature, access.seed, on_progress))
    return with_history(dossier, transcript.sentences)


def with_history(dossier: Dossier, sentences: Sequence[str]) -> Dossier:
    """The dossier with further sentences in its history, each once. Validated again."""
    history = dossier.provenance.history
    added = tuple(sentence for sentence in dict.fromkeys(sentences) if sentence not in history)
    provenance = dossier.provenance.model_copy(update={"history": history + added})
    return Dossier.model_validate(dossier.model_copy(update={"provenance": provenance}).model_dump())


def transcript_beside(dossier: Path, suffix: str = "") -> Path:
    """The path of the answers behind a dossier; `suffix` tells the transcripts of several models apart."""
    return dossier.with_name(dossier.name.removesuffix(".json") + suffix + ".transcript.jsonl")
