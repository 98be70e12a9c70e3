"""Finds the dossier of an audit: a file, a pack, or the answers of a language model, frozen in the store."""

from __future__ import annotations

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit._util.workflow_commands import escaped
from dmun_audit.config.options import Options, store_of
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.knowledge.language_models.reference import names_language_model
from dmun_audit.knowledge.packs import find_pack, open_knowledge, pack_names
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.models import references


def find_dossier(
    options: Options, candidate: references.ModelReference, base: references.ModelReference, world: World
) -> tuple[Dossier, str]:
    """The dossier, and a description of its origin. `world` is the world of the base model."""
    if isinstance(options.knowledge, Dossier):
        if options.target:
            _same_target(options.target, options.knowledge)
        return options.knowledge, "a dossier given in Python"
    if options.knowledge is None:
        dossier = find_pack(_target(options, candidate), world)
        return dossier, f"a built-in pack of the {world} world"
    if names_language_model(options.knowledge):
        return _from_language_model(options, options.knowledge, _target(options, candidate), base, world)
    dossier = open_knowledge(options.knowledge, world)
    if options.target:
        _same_target(options.target, dossier)
    of_world = options.knowledge in pack_names() and dossier != open_knowledge(options.knowledge)
    return dossier, f"{options.knowledge}: the pack of that target for {world} models" if of_world else options.knowledge


def _from_language_model(
    options: Options, model: str, target: str, base: references.ModelReference, world: World
) -> tuple[Dossier, str]:
    """The dossier from a language model. It is made once and frozen in the store; later audits do not call the model."""
    from dmun_audit.knowledge.build import LanguageModelAccess, build_dossier, transcript_beside
    from dmun_audit.knowledge.dossier import write_dossier
    from dmun_audit.knowledge.interview.expected_questions import expected_interview
    from dmun_audit.knowledge.interview.interview import InterviewTask
    from dmun_audit.knowledge.interview.progress import AnswerProgress
    from dmun_audit.knowledge.language_models.reference import parse_language_model
    from dmun_audit.knowledge.language_models.transcript import Transcript
    from dmun_audit.knowledge.lengths import counter_of
    from dmun_audit.knowledge.reading import read_dossier

    reference = parse_language_model(model)
    key = digest([model, fold(target), world, base.text])[:8]
    frozen = store_of(options) / "dossiers" / f"{slug(target)}-{key}.json"
    if frozen.is_file():
        return read_dossier(frozen), f"{model}, frozen in {frozen}"
    task = InterviewTask(target, world, counter_of(base), allow_sensitive=options.allow_sensitive)

    def on_line(line: str) -> None:
        print(escaped(f"  {line}"), flush=True)

    def on_open(transcript: Transcript) -> None:
        transcript.progress = AnswerProgress(expected_interview(task.repeats).questions, on_line)

    dossier = build_dossier(task, LanguageModelAccess(reference, transcript_beside(frozen), on_open=on_open), on_line)
    write_dossier(dossier, frozen)
    return dossier, f"{model}, now frozen in {frozen}"


def _target(options: Options, candidate: references.ModelReference) -> str:
    if options.target is not None:
        return options.target
    target = references.atelier_target(candidate)
    if target is None:
        raise UsageError(
            f"--model={candidate.text} does not say what was unlearned", "", 'add --target="…", for instance --target="Van Gogh"'
        )
    return target


def target_names(dossier: Dossier) -> set[str]:
    """The name and the aliases of the dossier's target, folded."""
    return {fold(name) for name in (dossier.target.name, *dossier.target.aliases)}


def _same_target(target: str, dossier: Dossier) -> None:
    if fold(target) not in target_names(dossier):
        names = ", ".join((dossier.target.name, *dossier.target.aliases))
        raise UsageError(
            f"--target={target!r} is not the target of the dossier",
            f"the dossier is about {dossier.target.name!r} ({names})",
            "omit --target, or give the dossier of that target",
        )
