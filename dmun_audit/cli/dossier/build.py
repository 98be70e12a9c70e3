"""`dmun-audit dossier build`: interviews language models about targets and freezes their answers in dossiers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from dmun_audit._util.errors import UsageError
from dmun_audit._util.hashing import digest, slug
from dmun_audit._util.paths import expanded
from dmun_audit.cli.dossier import build_summary, language_model_options, vlm_ordering
from dmun_audit.cli.dossier.idle_options import remark_on_idle_options
from dmun_audit.cli.dossier.language_model_options import (
    access_to,
    language_model_access,
    print_progress,
    require_answering,
    with_preflight,
)
from dmun_audit.cli.dossier.transcripts import transcript_for
from dmun_audit.cli.messages import error_text
from dmun_audit.knowledge.build import LanguageModelAccess, build_dossier, with_thin
from dmun_audit.knowledge.check import problems, remarks
from dmun_audit.knowledge.dossier import Dossier, Kind, World, write_dossier
from dmun_audit.knowledge.interview.completion import Start
from dmun_audit.knowledge.interview.expected_questions import expected_interview
from dmun_audit.knowledge.interview.interview import InterviewTask, require_valid_name
from dmun_audit.knowledge.interview.own_templates import ignored_files, read_templates
from dmun_audit.knowledge.interview.sensitive import require_allowed
from dmun_audit.knowledge.interview.templates import BUILT_IN, SUFFIX
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.knowledge.lengths import counter_of
from dmun_audit.knowledge.packs import open_knowledge
from dmun_audit.knowledge.words.texts import fold
from dmun_audit.models.references import ModelReference, is_atelier


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("build", help="interview language models about a target, or about several")
    parser.add_argument("target", nargs="+", help="name of the concept to be unlearned; several names make a dossier each")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="path of the dossier, or a folder for those of several targets (default: <target>.json)",
    )
    parser.add_argument(
        "--base", metavar="REF", help="model before unlearning, whose tokenizer counts prompts (default: CLIP's, 77 tokens)"
    )
    parser.add_argument(
        "--kind", choices=get_args(Kind), help="what the target is, if the language models do not know it or mistake it"
    )
    parser.add_argument(
        "--start-from", metavar="PACK_OR_PATH", help="dossier that stays as it is: only what it lacks is asked for"
    )
    parser.add_argument(
        "--templates", metavar="DIR", help="folder with questions of your own, in place of the built-in ones of the same name"
    )
    parser.add_argument(
        "--strict", action="store_true", help="write nothing (exit 4) if a part could not be had, or `check` has a remark"
    )
    vlm_ordering.add_to(parser)
    parser.add_argument(
        "--force", action="store_true", help="replace an existing dossier; answers in its transcript are used again"
    )
    language_model_options.add_to(parser, several=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build the dossiers. An error about one of several targets does not lose the others; the exit code says that there was one."""
    language_model_options.require_at_least(arguments, "repeats", 1)
    builds = _builds(arguments)
    first = builds[0]
    asked = [*first.language_models, *([first.vlm] if first.vlm else [])]
    remark_on_idle_options(arguments, [access.reference for access in asked])
    if len(builds) == 1:
        builds[0].run(print_progress)
        return 0
    failed = []
    for build in builds:
        try:
            build.run(lambda line, name=build.task.target: print_progress(f"{name}: {line}"))  # type: ignore[misc]
        except UsageError as error:
            failed.append(build.task.target)
            print(f"ERROR: {build.task.target}: {error_text(error)}", file=sys.stderr, flush=True)
    print(
        f"{len(builds) - len(failed)} of {len(builds)} dossiers are written" + (f"; not: {', '.join(failed)}" if failed else "")
    )
    return 4 if failed else 0


@dataclass(frozen=True)
class _Build:
    """One dossier to be built, with everything that is checked before the first question."""

    arguments: argparse.Namespace
    task: InterviewTask
    output: Path
    language_models: tuple[LanguageModelAccess, ...]
    vlm: LanguageModelAccess | None
    base: ModelReference | None
    start: Start | None

    def run(self, on_progress: Callable[[str], None]) -> None:
        """Conduct the interview, write the dossier and say what it is worth."""
        first, *further = self._with_preflights()
        texts = read_templates(self.arguments.templates) if self.arguments.templates else BUILT_IN
        dossier = build_dossier(self.task, first, on_progress, further=further, texts=texts, start=self.start)
        if self.vlm and self.base:
            dossier = self._with_images(dossier, self.base, self.vlm)
        for sentence in dossier.provenance.history:
            on_progress(sentence)
        lacking = [*problems(dossier, self.task.counter), *remarks(dossier)]
        if self.arguments.strict and lacking:
            transcripts = ", ".join(str(each.transcript) for each in self.language_models)
            raise UsageError(
                f"--strict: {self.output} is not written",
                "; ".join(line.rstrip(".") for line in lacking),
                f"ask a larger model, or give a second --llm; the answers are kept in {transcripts}",
            )
        write_dossier(dossier, self.output)
        for line in build_summary.remark_lines(lacking):
            on_progress(line)
        print("\n".join(build_summary.lines(dossier, self.task.counter, self.output)), flush=True)

    def _with_preflights(self) -> list[LanguageModelAccess]:
        """The language models, each asked one small question before the interview. The first is asked most of it."""
        first, *further = self.language_models
        plan = replace(expected_interview(self.arguments.repeats), at_most=self.start is not None)
        return [with_preflight(self.arguments, first, plan), *(with_preflight(self.arguments, each, None) for each in further)]

    def _with_images(self, dossier: Dossier, base: ModelReference, access: LanguageModelAccess) -> Dossier:
        """The dossier with an ordering by images; without it, and thin, if the vision-language model gives none."""
        engine = vlm_ordering.open_engine(self.arguments, dossier, base)
        try:
            return vlm_ordering.ordered_by_images(self.arguments, dossier, engine, access)
        except UsageError as error:
            return with_thin(dossier, f"No ordering by images: {error.what}.")


def _builds(arguments: argparse.Namespace) -> list[_Build]:
    """What is to be built. Raises UsageError for bad input, before the first question."""
    names = [name.strip() for name in arguments.target]
    if not all(names):
        raise UsageError("the target is empty", "perhaps a variable is not set", "name the concept")
    outputs = _outputs(arguments, names)
    base = vlm_ordering.base_reference(arguments)
    for name in names:
        require_valid_name(name)
        require_allowed(name, arguments.kind, arguments.allow_sensitive)
    start = _start(arguments, names, base)
    world: World = start.dossier.world if start else "atelier" if base and is_atelier(base) else "real"
    if arguments.templates:
        read_templates(arguments.templates)
        for name in ignored_files(arguments.templates):
            print_progress(f"remark: --templates={arguments.templates}: {name} is ignored, because it does not end in {SUFFIX}")
    accesses = [_language_models(arguments, output) for output in outputs]
    vlms = [
        require_answering(arguments, language_model_access(arguments, output, "vlm")) if arguments.vlm else None
        for output in outputs
    ]
    counter = counter_of(base)
    return [
        _Build(
            arguments,
            InterviewTask(name, world, counter, arguments.repeats, arguments.allow_sensitive, arguments.kind),
            output,
            access,
            vlm,
            base,
            start,
        )
        for name, output, access, vlm in zip(names, outputs, accesses, vlms, strict=True)
    ]


def _outputs(arguments: argparse.Namespace, names: list[str]) -> list[Path]:
    """The path of each dossier. Raises UsageError for two of one path, and for one that exists."""
    text: str = arguments.output or ""
    given = expanded(text, f"-o {text}") if text else None
    in_folder = len(names) > 1 or text.endswith("/")
    if given and in_folder and given.exists() and not given.is_dir():
        raise UsageError(f"{given} is a file", f"{len(names)} targets make {len(names)} dossiers", "name a folder with -o")
    if given and len(names) > 1 and text.endswith(".json") and not given.is_dir():
        why = f"{len(names)} targets make {len(names)} dossiers, and a name with .json is a file"
        raise UsageError(f"-o {text} names one file", why, f"name a folder, such as -o {text.removesuffix('.json')}/")
    files = [Path(f"{_file_name(name)}.json") for name in names]
    outputs = [given / file if in_folder else given for file in files] if given else files
    for place, output in enumerate(outputs):
        if output in outputs[:place]:
            other = names[outputs.index(output)]
            raise UsageError(f"{other!r} and {names[place]!r} have the same file {output}", "", "build them one by one, with -o")
        language_model_options.require_new_file(output, arguments.force)
    return outputs


def _file_name(target: str) -> str:
    """A file name of ASCII characters, with a digest if the target has hardly any."""
    name = slug(target)
    return name if len(name) > 2 else f"{name}-{digest(target)[:8]}"


def _language_models(arguments: argparse.Namespace, output: Path) -> tuple[LanguageModelAccess, ...]:
    """The language models in the order in which they are asked. Each has a transcript of its own beside the dossier."""
    references = [parse_language_model(text) for text in arguments.llm]
    for place, reference in enumerate(references):
        if any(reference.text == other.text for other in references[:place]):
            raise UsageError(
                f"--llm={reference.text} is given twice",
                "the second language model is asked what the first could not give",
                "omit one",
            )
    transcripts: list[Path] = []
    for place, reference in enumerate(references):
        transcripts.append(transcript_for(output, "llm", reference, several=place > 0, taken=transcripts))
    return tuple(access_to(arguments, *each) for each in zip(references, transcripts, strict=True))


def _start(arguments: argparse.Namespace, names: list[str], base: ModelReference | None) -> Start | None:
    """The dossier of `--start-from`. Raises UsageError if it is of another target or of another world than the base model."""
    reference = arguments.start_from
    if not reference:
        return None
    option = f"--start-from={reference}"
    if len(names) > 1:
        raise UsageError(f"{option} goes with one target", f"{len(names)} are given", "complete one dossier at a time")
    if arguments.kind:
        raise UsageError(f"{option} and --kind exclude each other", "the dossier says of what kind its target is", "omit --kind")
    world = None if base is None else "atelier" if is_atelier(base) else "real"
    dossier = open_knowledge(reference, world)
    if world not in (None, dossier.world):
        raise UsageError(f"{option} is for {dossier.world} models", f"--base is a model of the world {world}", "omit one of them")
    if fold(names[0]) not in {fold(name) for name in (dossier.target.name, *dossier.target.aliases)}:
        raise UsageError(f"{option} is about {dossier.target.name!r}, not {names[0]!r}", "", "name its target")
    require_allowed(dossier.target.name, dossier.target.kind, arguments.allow_sensitive)
    return Start(dossier, reference)
