"""Plain prompts far from a target: the list of a world, or a list of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dmun_audit._util.errors import UsageError
from dmun_audit._util.untrusted import read_within
from dmun_audit.knowledge.dossier import Dossier, World
from dmun_audit.knowledge.remainders import concept_names, distinct
from dmun_audit.knowledge.words.content_words import content_words
from dmun_audit.knowledge.words.names import PEOPLE, Names, names_of
from dmun_audit.knowledge.words.texts import fold, without_hidden_characters

LISTS = Path(__file__).parent / "unrelated"
MOST_BYTES = 4_000_000  # of a list, as of a dossier
LONGEST = 600  # characters of a prompt, as in dossiers
COMMENT = "#"
FEWEST_SUBJECTS = 8
"""A list of the user's own must ask for at least this many different things, so that retrieval means something."""


def shipped_prompts(world: World) -> tuple[str, ...]:
    """The plain prompts that ship with the package for a world."""
    return tuple(_lines((LISTS / f"{world}.txt").read_text(encoding="utf-8")))


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a file in UTF-8, with or without a byte order mark: one in each line; # begins a comment line.

    Raises UsageError for a file that cannot be read, a prompt that is too long or listed twice, and a file without prompts.
    """
    try:
        text = read_within(path, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--unrelated={path} is no text in UTF-8", str(error), "save it as UTF-8, with one prompt in each line"
        ) from None
    except OSError as error:
        raise UsageError(f"--unrelated={path} cannot be read", error.strerror or str(error), "give a text file") from None
    except ValueError as error:
        raise UsageError(
            f"--unrelated={path} cannot be read", str(error), "give a text file with one prompt in each line"
        ) from None
    prompts = _lines(text)
    if not prompts:
        raise UsageError(f"--unrelated={path} holds no prompt", "", "write one prompt in each line")
    seen: set[str] = set()
    for prompt in prompts:
        if len(prompt) > LONGEST or prompt != without_hidden_characters(prompt):
            reason = f"a prompt has at most {LONGEST} characters, and none that are invisible"
            raise UsageError(f"--unrelated={path} holds no valid prompt in {prompt[:60]!r}", reason, "correct that line")
        if fold(prompt) in seen:
            raise UsageError(f"--unrelated={path} lists {prompt!r} twice", "", "remove one of the two lines")
        seen.add(fold(prompt))
    return tuple(prompts)


def far_prompts(dossier: Dossier, count: int, own: Sequence[str] = ()) -> tuple[str, ...]:
    """`count` plain prompts that do not ask for the target: from `own`, or from the shipped list of the dossier's world.

    A shipped prompt that names the target, shares its main noun, names an erased work, or stands in the dossier is left out. A
    prompt that names a nearby concept is taken only if the others are too few, that of the least similar concept first.

    Raises UsageError for too few prompts, and for a prompt of `own` that names the target.
    """
    forbidden = [names_of(dossier.names, dossier.target.kind), *_erased(dossier)]
    if own:
        naming = [prompt for prompt in own if any(names.find_exact(prompt) for names in forbidden)]
        if naming:
            raise UsageError(
                f"the prompt {naming[0]!r} of --unrelated names the target, {dossier.target.name!r}",
                "these prompts show whether the model still draws what has nothing to do with the target",
                "remove it from the file",
            )
        known = {fold(prompt): owner for prompt, owner in dossier.prompts_with_owners()}
        repeated = [prompt for prompt in own if fold(prompt) in known]
        if repeated:
            owner = known[fold(repeated[0])]
            raise UsageError(
                f"the prompt {repeated[0]!r} of --unrelated stands in the dossier", f"it belongs to {owner}", "remove it"
            )
        if len(distinct(own)) < FEWEST_SUBJECTS:
            raise UsageError(
                f"the prompts of --unrelated ask for {len(distinct(own))} different things",
                f"the judge tells them apart, and needs {FEWEST_SUBJECTS} at least",
                "give prompts of more different things",
            )
        return _first(own, count, "--unrelated")
    taken = {fold(prompt) for prompt, _ in dossier.prompts_with_owners()}
    nouns = _main_nouns(dossier)
    far = [
        prompt
        for prompt in shipped_prompts(dossier.world)
        if fold(prompt) not in taken
        and nouns.isdisjoint(content_words(prompt))
        and not any(names.find_exact(prompt) for names in forbidden)
    ]
    closeness = {prompt: _closeness(prompt, dossier) for prompt in far}
    chosen = set(_first(sorted(far, key=lambda prompt: closeness[prompt]), count, f"the list of the {dossier.world} world"))
    return tuple(prompt for prompt in far if prompt in chosen)


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(COMMENT)]


def _first(prompts: Sequence[str], count: int, source: str) -> tuple[str, ...]:
    if len(prompts) < count:
        raise UsageError(
            f"{source} has {len(prompts)} plain prompts",
            f"the policy asks for {count}",
            "add prompts to the file" if source == "--unrelated" else "give a list of your own: --unrelated=FILE",
        )
    return tuple(prompts[:count])


def _erased(dossier: Dossier) -> list[Names]:
    return [names_of((concept.name,), concept.kind) for concept in dossier.concepts if concept.role == "erase"]


def _main_nouns(dossier: Dossier) -> set[str]:
    """The last word of each name of an object: a "pickup truck" is not far from a "garbage truck"."""
    if dossier.target.kind in PEOPLE:
        return set()
    last = {words[-1] for name in dossier.names if (words := content_words(name))}
    return last | {word.removesuffix("s") for word in last} | {f"{word}s" for word in last}


def _closeness(prompt: str, dossier: Dossier) -> float:
    """The highest similarity of a nearby concept that the prompt names; -1 if it names none."""
    named = [
        concept.similarity
        for concept in dossier.concepts
        if any(names_of((name,), concept.kind).find_exact(prompt) for name in concept_names(concept))
    ]
    return max(named, default=-1.0)
