"""What `--judge`, `--detector` and `--second-judge` may say, decided without importing torch."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmun_audit._util.errors import LoadError, UsageError
from dmun_audit.knowledge.language_models.reference import parse_language_model
from dmun_audit.models.references import HUB_ID, atelier_judge

ATELIER_JUDGE = "atelier:judge"
KINDS_OF_JUDGE = "local-dir:PATH, open_clip:ARCH/TAG, hf-hub:OWNER/NAME or atelier:judge"
KINDS_OF_DETECTOR = (
    "classifier:MODEL#label+label, objects:MODEL#text, references:MODEL#folder-of-pictures, "
    "faces:NETWORK.onnx#folder-of-photos, vlm:LANGUAGE-MODEL, or a CLIP model: " + KINDS_OF_JUDGE
)
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}

Kind = Literal["clip", "classifier", "objects", "references", "faces", "vlm"]
_PREFIXES: dict[str, Kind] = {
    "local-dir": "clip",
    "open_clip": "clip",
    "hf-hub": "clip",
    "atelier": "clip",
    "classifier": "classifier",
    "objects": "objects",
    "references": "references",
    "faces": "faces",
    "vlm": "vlm",
}


@dataclass(frozen=True)
class JudgeReference:
    """A judge as the user named it. `place` is a folder, file, hub id ("owner/name@revision"), CLIP or language model; `asked` is
    what stands behind "#": labels, a text, a folder of pictures, or "" where the target itself says what to look for."""

    text: str
    kind: Kind
    place: str
    asked: str = ""


def parse_judge(text: str) -> JudgeReference:
    """The judge of any kind that `text` names. Raises LoadError where it names none, or what it names cannot be there."""
    prefix, colon, rest = text.strip().partition(":")
    if not colon or prefix not in _PREFIXES:
        raise _of_no_kind(text, KINDS_OF_DETECTOR)
    kind = _PREFIXES[prefix]
    if kind == "clip":
        judge_parts(text) if text != ATELIER_JUDGE else None
        return JudgeReference(text, kind, text)
    if not rest.strip():
        raise LoadError(f"judge {text!r} names no model", f"nothing stands behind {prefix}:", f"use {KINDS_OF_DETECTOR}")
    if kind == "vlm":
        return _language_model(text, rest)
    place, _, asked = (part.strip() for part in rest.partition("#"))
    _require_place(text, kind, place)
    if kind in {"references", "faces"}:
        _require_pictures(text, asked)
    return JudgeReference(text, kind, place, asked)


def judge_parts(reference: str) -> tuple[str, str | None]:
    """Name and weights tag of a CLIP judge as open_clip takes them. Raises LoadError for a reference of no known kind."""
    kind, _, rest = reference.partition(":")
    if reference == ATELIER_JUDGE:
        return judge_parts(f"local-dir:{atelier_judge()}")
    if kind == "open_clip" and "/" in rest:
        architecture, _, tag = rest.partition("/")
        return architecture, tag
    if kind == "local-dir" and rest:
        if not os.path.isfile(os.path.join(rest, "open_clip_config.json")):
            raise LoadError(
                f"judge {reference!r}: no open_clip_config.json in {rest}",
                "that file tells open_clip the architecture",
                "check the path",
            )
        return reference, None
    if kind == "hf-hub" and rest:
        return reference, None
    raise _of_no_kind(reference, KINDS_OF_JUDGE)


def check_judge(reference: str) -> None:
    """Raise LoadError unless `reference` names a CLIP judge: what can be known before anything is loaded."""
    if _PREFIXES.get(reference.partition(":")[0], "clip") != "clip":
        raise LoadError(
            f"judge {reference!r} is no CLIP model",
            "the judge also tells neighbours apart and scores prompts, which takes images and texts in one space",
            f"give it as --detector or --second-judge, and as --judge one of {KINDS_OF_JUDGE}",
        )
    if reference != ATELIER_JUDGE:
        judge_parts(reference)


def check_others(judge: str, detector: str | None, second: str | None) -> dict[str, str]:
    """The named ones of `detector` and `second_judge`, by these words. Raises LoadError where one of them names no judge, or where
    the second judge is by its very name the first."""
    if second is not None and second == (detector or judge):
        raise LoadError(
            f"the second judge {second!r} is the first one",
            "it would agree with itself",
            "name another, or leave --second-judge out",
        )
    named = {name: text for name, text in (("detector", detector), ("second_judge", second)) if text is not None}
    for text in named.values():
        parse_judge(text)
    return named


def folder_of(place: str) -> Path | None:
    """The folder or file that a place names; None for a hub id."""
    path = Path(place).expanduser()
    return path if path.exists() else None


def pictures_in(folder: str) -> list[Path]:
    """The picture files of a folder, by name."""
    return sorted(path for path in Path(folder).expanduser().glob("*") if path.suffix.lower() in PICTURES and path.is_file())


def _of_no_kind(text: str, kinds: str) -> LoadError:
    close = difflib.get_close_matches(text.partition(":")[0], _PREFIXES, n=1, cutoff=0.5)
    meant = f"did you mean {ATELIER_JUDGE if close[0] == 'atelier' else close[0] + ':'}? " if close else ""
    return LoadError(f"judge {text!r} is of no known kind", "", f"{meant}use {kinds}")


def _language_model(text: str, rest: str) -> JudgeReference:
    try:
        model = parse_language_model(rest)
    except UsageError as error:
        raise LoadError(f"judge {text!r}: {error.what}", error.why, error.remedy) from None
    if model.kind == "transcript":
        raise LoadError(
            f"judge {text!r} names a transcript", "it cannot answer about new images", "name the language model itself"
        )
    if model.kind == "transformers" and model.place.startswith((".", "/", "~")) and folder_of(model.place) is None:
        raise LoadError(f"judge {text!r}: there is no folder {model.place}", "", "check the path")
    return JudgeReference(text, "vlm", rest)


def _require_place(text: str, kind: Kind, place: str) -> None:
    if kind == "references" and _PREFIXES.get(place.partition(":")[0]) == "clip":
        return check_judge(place)
    path = folder_of(place)
    if kind == "faces":
        if path is None or not path.is_file() or path.suffix.lower() != ".onnx":
            raise LoadError(f"judge {text!r}: {place} is no .onnx file", "the face network is yours to bring", "check the path")
    elif path is not None:
        if not (path / "config.json").is_file():
            raise LoadError(
                f"judge {text!r}: no config.json in {place}", "that file tells transformers the kind", "check the path"
            )
    elif place.startswith((".", "/", "~")) or not HUB_ID.fullmatch(place):
        raise LoadError(f"judge {text!r}: there is no folder {place}", "and it is no hub id such as owner/name", "check the path")
    return None


def _require_pictures(text: str, folder: str) -> None:
    if not folder:
        raise LoadError(f"judge {text!r} has no pictures to compare with", "", "add #FOLDER with pictures of the target")
    if not pictures_in(folder):
        raise LoadError(
            f"judge {text!r}: no pictures in {folder}",
            f"files ending in {', '.join(sorted(PICTURES))} are read",
            "give a folder with pictures of the target",
        )
