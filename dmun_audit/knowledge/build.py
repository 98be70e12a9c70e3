"""From a language model to a frozen dossier: opens the model with its transcript and conducts the interview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten

from dmun_audit._util.errors import UsageError
from dmun_audit._util.paths import expanded
from dmun_audit.knowledge.dossier import Dossier
from dmun_audit.knowledge.interview.completion import Start, completed
from dmun_audit.knowledge.interview.interview import InterviewTask, interview
from dmun_audit.knowledge.interview.interviewer import Interviewer
from dmun_audit.knowledge.interview.panel import Panel
from dmun_audit.knowledge.interview.templates import BUILT_IN, Templates
from dmun_audit.knowledge.language_models.additions import Additions
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import LanguageModelReference, open_language_model
from dmun_audit.knowledge.language_models.transcript import Transcript
from dmun_audit.knowledge.parts import LONGEST_SENTENCE
from dmun_audit.knowledge.thin_sentences import by_weight
from dmun_audit.store.files import held


@dataclass(frozen=True)
class LanguageModelAccess:
    """Which language model to ask, where its answers are kept (`transcript`), and how it samples.

    `additions` go with every request over HTTP. `on_open` gets the open transcript before the first question, `on_close` after the
    last, unless an error has ended the questions.
    """

    reference: LanguageModelReference
    transcript: Path
    settings: Settings = field(default_factory=Settings)
    temperature: float = 0.7
    seed: int = 0
    additions: Additions = field(default_factory=Additions)
    on_open: Callable[[Transcript], None] = lambda transcript: None
    on_close: Callable[[Transcript], None] = lambda transcript: None

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
                raise UsageError(
                    f"{path} is being written by another command",
                    f"that command holds {lock}: two would mix their answers",
                    "wait for it, or name another output",
                )
            try:
                model = open_language_model(self.reference, self.settings, self.additions)
                transcript = Transcript(path, model, self.additions.options)
                try:
                    self.on_open(transcript)
                    yield transcript
                    self.on_close(transcript)
                finally:
                    transcript.release()
            finally:
                lock.unlink(missing_ok=True)


def build_dossier(
    task: InterviewTask,
    access: LanguageModelAccess,
    on_progress: Callable[[str], None] = lambda line: None,
    *,
    further: Sequence[LanguageModelAccess] = (),
    texts: Templates = BUILT_IN,
    start: Start | None = None,
) -> Dossier:
    """Interview the language model and freeze its answers in a dossier. `on_progress` gets lines for the user.

    The `further` language models are asked in turn for what those before could not give. `texts` are the texts of the questions.
    With a `start`, only what that dossier lacks is asked for. Each answer is kept in the transcript of its language model, and no
    question is asked twice. Raises UsageError if the answers make no dossier, or if another process writes to a transcript.
    """
    with ExitStack() as transcripts:
        panel = Panel(
            [
                Interviewer(transcripts.enter_context(each.open_transcript()), each.temperature, each.seed, on_progress, texts)
                for each in (access, *further)
            ]
        )
        return completed(task, start, panel) if start else interview(task, panel)


def with_history(dossier: Dossier, sentences: Sequence[str]) -> Dossier:
    """The dossier with further sentences in its history, each once. Validated again."""
    history = dossier.provenance.history
    added = tuple(sentence for sentence in dict.fromkeys(sentences) if sentence not in history)
    provenance = dossier.provenance.model_copy(update={"history": history + added})
    return Dossier.model_validate(dossier.model_copy(update={"provenance": provenance}).model_dump())


def with_thin(dossier: Dossier, sentence: str) -> Dossier:
    """The dossier with one more sentence on what could not be had. Validated again."""
    thin = tuple(by_weight([*dossier.provenance.thin, shorten(sentence, LONGEST_SENTENCE, placeholder="…")]))
    provenance = dossier.provenance.model_copy(update={"thin": thin})
    return Dossier.model_validate(dossier.model_copy(update={"provenance": provenance}).model_dump())


def transcript_beside(dossier: Path, suffix: str = "") -> Path:
    """The path of the answers behind a dossier; `suffix` tells the transcripts of several models apart."""
    return dossier.with_name(dossier.name.removesuffix(".json") + suffix + ".transcript.jsonl")
