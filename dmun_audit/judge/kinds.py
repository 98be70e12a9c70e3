"""The kinds of judge that `--judge`, `--detector` and `--second-judge` take: built-in ones, and detectors of other packages.

A new built-in detector is one new module with a `KIND`, and one entry in `BUILT_IN`. Loads no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit._util.extensions import registered
from dmun_audit.judge import classifier, faces, nudenet, objects, opennsfw, q16, reference_images, vlm
from dmun_audit.judge.detector_kind import DetectorKind
from dmun_audit.judge.reference import (
    ATELIER_JUDGE,
    CLIP_PREFIXES,
    CLIP_USAGE,
    JudgeReference,
    check_clip,
    is_clip,
)
from dmun_audit.judge.registered import GROUP, kind_of_entry

BUILT_IN = (classifier.KIND, objects.KIND, reference_images.KIND, faces.KIND, vlm.KIND, nudenet.KIND, opennsfw.KIND, q16.KIND)


def detector_kinds() -> dict[str, DetectorKind]:
    """All kinds of detector but CLIP, by name: built-in kinds first, then kinds of other packages.

    Raises UsageError where another package registers a name that is taken.
    """
    kinds = {kind.name: kind for kind in BUILT_IN}
    for name, entry in registered(GROUP).items():
        if name in kinds or name in CLIP_PREFIXES:
            raise UsageError(
                f"{entry.value} is registered as the detector {name!r}",
                "dmun_audit has a kind of judge of that name",
                "uninstall the package, or register the detector under another name",
            )
        kinds[name] = kind_of_entry(entry)
    return kinds


def parse_judge(text: str) -> JudgeReference:
    """The judge of any kind that `text` names. Raises LoadError for an unknown kind, and for a source that is not there."""
    text = text.strip()
    if is_clip(text):
        check_clip(text)
        return JudgeReference(text, "clip", text)
    kinds = detector_kinds()
    prefix, colon, rest = _parts(text, kinds)
    if not colon or prefix not in kinds:
        raise _unknown_kind(text, kinds.values())
    kind = kinds[prefix]
    source, _, query = (part.strip() for part in rest.partition("#")) if kind.has_query else (rest.strip(), "", "")
    if kind.needs_source and not source:
        raise LoadError(f"judge {text!r} names no model", f"no source follows {prefix}:", f"use {kind.usage}")
    reference = JudgeReference(text, kind.name, source, query)
    kind.check(reference)
    return reference


def _parts(text: str, kinds: Mapping[str, DetectorKind]) -> tuple[str, str, str]:
    """Kind, colon and the rest of a reference. A kind without a source needs no colon: "nudenet#…" is "nudenet:#…"."""
    name, number_sign, query = text.partition("#")
    if name in kinds and not kinds[name].needs_source:
        return name, ":", f"{number_sign}{query}"
    return text.partition(":")


def check_judge(reference: str) -> None:
    """Raise LoadError unless `reference` names a CLIP model, as far as that shows without loading one."""
    if is_clip(reference):
        return check_clip(reference)
    kinds = detector_kinds()
    prefix, colon, _ = reference.partition(":")
    if not colon or prefix not in kinds:
        raise _unknown_kind(reference, ())
    raise LoadError(
        f"judge {reference!r} is no CLIP model",
        "the judge also classifies nearby concepts and scores prompts, which takes embeddings of images and of texts",
        f"give it as --detector or --second-judge, and as --judge one of {CLIP_USAGE}",
    )


def check_others(judge: str, detector: str | None, second_judge: str | None) -> dict[str, str]:
    """The references of `detector` and `second_judge` that are not None, by these names.

    Raises LoadError where one is no valid reference, and where the second judge has the reference of the first.
    """
    if second_judge is not None and second_judge == (detector or judge):
        raise LoadError(
            f"the second judge {second_judge!r} is the first one",
            "it would agree with itself",
            "name another judge, or leave --second-judge out",
        )
    named = {name: text for name, text in (("detector", detector), ("second_judge", second_judge)) if text is not None}
    for text in named.values():
        parse_judge(text)
    return named


def _unknown_kind(text: str, kinds: Iterable[DetectorKind]) -> LoadError:
    """The error for a reference of an unknown kind. `kinds` are the kinds of detector that are allowed beside CLIP."""
    usages = {kind.name: kind.usage for kind in kinds}
    close = difflib.get_close_matches(text.strip().partition(":")[0], [*CLIP_PREFIXES, *usages], n=1, cutoff=0.5)
    suggestion = f"did you mean {ATELIER_JUDGE if close[0] == 'atelier' else close[0] + ':'}? " if close else ""
    allowed = f"{', '.join(usages.values())}, or a CLIP model: {CLIP_USAGE}" if usages else CLIP_USAGE
    return LoadError(f"judge {text!r} is of no known kind", "", f"{suggestion}use {allowed}")
