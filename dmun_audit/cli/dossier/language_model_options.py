"""The options of every command that asks a language model."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from dataclasses import replace
from errno import EACCES, ENOENT, EPERM
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from dmun_audit._util.errors import UsageError
from dmun_audit.knowledge.build import LanguageModelAccess, transcript_beside
from dmun_audit.knowledge.interview.progress import AnswerProgress
from dmun_audit.knowledge.language_models.additions import read_additions
from dmun_audit.knowledge.language_models.over_http.request_format import FEWEST_TOKENS
from dmun_audit.knowledge.language_models.preflight import Limits, QuestionPlan, announce, preflight
from dmun_audit.knowledge.language_models.protocol import Settings
from dmun_audit.knowledge.language_models.reference import KINDS, LanguageModelReference, parse_language_model
from dmun_audit.knowledge.language_models.transcript import Transcript


def add_to(parser: argparse.ArgumentParser, *, required: bool = True, several: bool = False) -> None:
    """Add the options; `--llm` is `required` or not, and may be given `several` times or once."""
    group = parser.add_argument_group(
        "language model",
        "A hosted model needs a key, which is read from DMUN_LLM_API_KEY, or from the variable of the service (OPENAI_API_KEY, "
        "ANTHROPIC_API_KEY, …).",
    )
    more = "; give it once for each model" if several else ""
    action = "append" if several else "store"
    group.add_argument("--llm", required=required, metavar="REF", action=action, help=f"{KINDS}{more}")
    group.add_argument("--temperature", type=float, default=0.7, help="sampling temperature (default: 0.7)")
    group.add_argument("--seed", type=int, default=0, help="seed of sampling and of the order of listed concepts (default: 0)")
    group.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS", help="longest silence of the model in an answer (default: 300)"
    )
    group.add_argument("--max-tokens", type=int, metavar="N", help="most tokens of one answer (default: as the question needs)")
    group.add_argument("--concurrency", type=int, default=4, metavar="N", help="questions open at once over HTTP (default: 4)")
    group.add_argument("--batch", type=int, default=4, metavar="N", help="questions in a batch of transformers (default: 4)")
    group.add_argument(
        "--quantize", choices=["none", "4bit", "8bit"], default="none", help="quantize transformers weights (needs bitsandbytes)"
    )
    _add_additions(group, "llm")
    group.add_argument(
        "--insecure-key", action="store_true", help="send a key over plain http to another machine, where others could read it"
    )
    group.add_argument(
        "--no-preflight",
        action="store_true",
        help="do not ask a small question first, which measures speed and says what the rest takes",
    )
    group.add_argument(
        "--max-minutes", type=float, metavar="N", help="do not start if the questions would take longer than N minutes"
    )
    group.add_argument("--price-in", type=float, metavar="DOLLARS", help="price of a million tokens of questions to --llm")
    group.add_argument("--price-out", type=float, metavar="DOLLARS", help="price of a million tokens of answers of --llm")
    parser.add_argument(
        "--allow-sensitive", action="store_true", help="allow an unsafe target: prompts about it are written and images rendered"
    )


def add_vlm_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of `--vlm` that differ from those of `--llm`."""
    group = parser.add_argument_group("vision-language model", "Its key is read from DMUN_VLM_API_KEY, else as that of --llm.")
    _add_additions(group, "vlm")


def _add_additions(group: argparse._ArgumentGroup, name: str) -> None:
    for what, help_text in (
        ("option", f"further field of every request to --{name}, such as reasoning_effort=low (VALUE is JSON or text)"),
        ("header", f"header of every request to --{name}; env:VARIABLE or file:PATH as VALUE gives a secret"),
        ("query", f"parameter in the URL of --{name}; env:VARIABLE or file:PATH as VALUE gives a secret"),
    ):
        group.add_argument(f"--{name}-{what}", action="append", default=[], metavar="NAME=VALUE", help=f"{help_text}; repeatable")


def language_model_access(
    arguments: argparse.Namespace, output: Path, option: Literal["llm", "vlm"] = "llm"
) -> LanguageModelAccess:
    """Access to the language model that `option` names. Its answers are kept beside `output`, and its retries are logged.

    Raises UsageError for an option without sense.
    """
    transcript = transcript_beside(output, "" if option == "llm" else f".{option}")
    return access_to(arguments, parse_language_model(getattr(arguments, option)), transcript, option)


def access_to(
    arguments: argparse.Namespace, reference: LanguageModelReference, transcript: Path, option: Literal["llm", "vlm"] = "llm"
) -> LanguageModelAccess:
    """Access to the language model that `reference` names, with the additions that go with `option`.

    Its answers are kept in `transcript`, and its retries are logged. Raises UsageError for an option without sense.
    """
    _log_to_terminal()
    options, headers, query = (getattr(arguments, f"{option}_{what}") for what in ("option", "header", "query"))
    additions = read_additions(options, headers, query, option, arguments.insecure_key)
    settings = _settings(arguments)
    _limits(arguments, option)  # an error in them comes before anything is asked
    return LanguageModelAccess(reference, transcript, settings, arguments.temperature, arguments.seed, additions)


def with_preflight(
    arguments: argparse.Namespace, access: LanguageModelAccess, plan: QuestionPlan | None, option: Literal["llm", "vlm"] = "llm"
) -> LanguageModelAccess:
    """The access, whose model is asked one small question when it is opened, and whose answers are counted from then on.

    `plan` says what will be asked, and a line tells what that takes; None stands for a number of questions that nobody knows yet.
    Nothing is asked where a transcript is replayed.
    """
    return replace(
        access, on_open=lambda transcript: ask_preflight(arguments, transcript, plan, option), on_close=_say_if_nothing_was_asked
    )


def _say_if_nothing_was_asked(transcript: Transcript) -> None:
    if transcript.was_complete:
        print_progress(f"{transcript.model}: all answers are in the transcript; no question was asked")


def ask_preflight(
    arguments: argparse.Namespace, transcript: Transcript, plan: QuestionPlan | None, option: Literal["llm", "vlm"] = "llm"
) -> None:
    """What `with_preflight` does, for a transcript that is open."""
    limits = _limits(arguments, option)
    transcript.progress = AnswerProgress(plan.questions if plan else 0, print_progress)
    if not (arguments.no_preflight or transcript.replays):
        result = preflight(transcript, arguments.concurrency, arguments.temperature)
        if plan:
            announce(result, plan, transcript, limits, print_progress)


def require_answering(arguments: argparse.Namespace, access: LanguageModelAccess) -> LanguageModelAccess:
    """The access, after its model has answered the small question: one that cannot is told before another model is asked for hours."""
    with access.open_transcript() as transcript:
        if not (arguments.no_preflight or transcript.replays):
            preflight(transcript, arguments.concurrency, arguments.temperature)
    return access


def _limits(arguments: argparse.Namespace, option: str) -> Limits:
    for name in ("max_minutes", "price_in", "price_out"):
        if getattr(arguments, name) is not None:
            require_at_least(arguments, name, 0)
    if arguments.max_minutes is not None and arguments.no_preflight:
        raise UsageError(
            "--max-minutes and --no-preflight exclude each other",
            "the preflight measures the speed, from which the minutes follow",
            "omit one of them",
        )
    price_in, price_out = (arguments.price_in, arguments.price_out) if option == "llm" else (None, None)
    return Limits(arguments.max_minutes, price_in, price_out)


def _log_to_terminal() -> None:
    """Print log messages of level INFO, such as retries, unless another level is set already.

    How a command ended is no news in a terminal: `--log-level` shows it.
    """
    terminal = logging.StreamHandler()
    terminal.addFilter(lambda record: record.name != "dmun_audit.cli")
    logging.basicConfig(format="  %(message)s", handlers=[terminal])
    logger = logging.getLogger("dmun_audit")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def _settings(arguments: argparse.Namespace) -> Settings:
    for option in ("timeout", "concurrency", "batch"):
        require_at_least(arguments, option, 1)
    require_at_least(arguments, "temperature", 0)
    if arguments.max_tokens is not None:
        require_at_least(arguments, "max_tokens", FEWEST_TOKENS)
    return Settings(arguments.timeout, arguments.concurrency, arguments.batch, arguments.quantize, arguments.max_tokens)


def require_at_least(arguments: argparse.Namespace, option: str, minimum: float) -> None:
    """Raise UsageError if the value of `option` is no finite number of at least `minimum`."""
    value = getattr(arguments, option)
    if not (value >= minimum and math.isfinite(value)):
        raise UsageError(f"--{option.replace('_', '-')}={value} makes no sense", "", f"give a number of at least {minimum}")


def require_new_file(output: Path, force: bool) -> None:
    """Raise UsageError if `output` is a folder, exists and `force` is false, or could not be written."""
    require_writable_place(output)
    if output.is_dir():
        raise UsageError(f"{output} is a folder", "", "name a file, such as van-gogh.json")
    if output.exists() and not force:
        raise UsageError(f"{output} exists", "the command would replace it", "add --force, or name another file with -o")


def require_writable_place(output: Path) -> None:
    """Raise UsageError if no file can be made in the folder of `output`, or the folder cannot be made. Leaves nothing behind."""
    folder = output.parent
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if folder.is_dir():
            with TemporaryFile(dir=folder):
                return
        reason = f"{folder} is a file"
    except OSError as error:
        # some folders of the system, such as /proc, say that the new file does not exist
        reason = "permission denied" if error.errno in (EACCES, EPERM, ENOENT) else (error.strerror or str(error)).lower()
    raise UsageError(f"cannot write into {output.parent}", reason, "choose another folder with -o")


def print_progress(line: str) -> None:
    """Print a line of progress to standard error."""
    print(f"  {line}", file=sys.stderr, flush=True)
