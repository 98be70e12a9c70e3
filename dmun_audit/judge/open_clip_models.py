"""Opens CLIP models of open_clip, and refuses what open_clip only warns of: another activation, weights that were not loaded."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmun_audit._util.errors import LoadError, in_brief

QUICK = "-quickgelu"  # ends the names of open_clip's architectures with the activation of OpenAI's models
MISMATCH = re.compile(r"mismatch|initialized (randomly|partially)|no CLIP weights|cannot load|Invalid file path", re.IGNORECASE)
USAGE = "give local-dir:PATH (open_clip_config.json and weights), or open_clip:ARCH/TAG with the weights in the cache"


def open_model(reference: str, name: str, tag: str | None, device: str) -> tuple[Any, Any, Any]:
    """The model, its preprocessing and its tokenizer. `name` and `tag` are open_clip's own for the judge `reference`.

    Raises LoadError where open_clip cannot open the model, or warns that it would compute otherwise than it was trained.
    """
    import open_clip

    _refuse_another_activation(reference, name, tag)
    try:
        with _warnings_of_open_clip() as told:
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, device=device, require_pretrained=True
            )
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:
        raise LoadError(f"judge {reference!r} cannot be opened by open_clip", in_brief(error), USAGE) from None
    wrong = next((text for text in told if MISMATCH.search(text)), None)
    if wrong is not None:
        raise LoadError(
            f"judge {reference!r} is not the model that was trained",
            f"open_clip warns: {' '.join(wrong.split())[:300]}",
            "name the architecture that belongs to these weights; dmun-audit takes open_clip:ARCH/TAG and local-dir:PATH",
        )
    return model, preprocess, tokenizer


def _refuse_another_activation(reference: str, name: str, tag: str | None) -> None:
    """Raise LoadError, before anything is fetched, where the weights were trained with another activation than `name` has."""
    import open_clip

    settings = open_clip.get_model_config(name.replace("/", "-")) if tag is not None else None
    if settings is None or tag is None:
        return
    computes, trained = bool(settings.get("quick_gelu", False)), _trained_with_quick_gelu(name, tag)
    if trained is None or trained == computes:
        return
    stem = name.removesuffix(QUICK)
    right = stem + QUICK if trained else stem
    known = open_clip.get_model_config(right.replace("/", "-"))
    fits = known is not None and bool(known.get("quick_gelu", False)) == trained
    activation = {True: "QuickGELU", False: "GELU"}
    raise LoadError(
        f"judge {reference!r} would compute with the wrong activation",
        f"{tag} was trained with {activation[trained]}, and {name} computes with {activation[computes]} (a QuickGELU mismatch)",
        f"write open_clip:{right}/{tag}"
        if fits
        else f'set "quick_gelu": {str(trained).lower()} in the model_cfg of an open_clip_config.json, and name its folder by local-dir:PATH',
    )


def _trained_with_quick_gelu(name: str, tag: str) -> bool | None:
    """Whether the weights of a tag, or of a file with a published name, were trained with QuickGELU; None where nothing says."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    settings = get_pretrained_cfg(name.replace("/", "-"), tag)
    if not settings and Path(tag).is_file():
        published = (get_pretrained_cfg(*entry) for entry in list_pretrained())
        file = Path(tag).name
        settings = next((entry for entry in published if entry.get("url", "").split("/")[-1] == file), None)
    elif not settings:
        settings = get_pretrained_cfg(name.removesuffix(QUICK), tag)  # open_clip knows such tags by the other name alone
    return bool(settings.get("quick_gelu", False)) if settings else None


@contextmanager
def _warnings_of_open_clip() -> Iterator[list[str]]:
    """Texts of the warnings that are given meanwhile, by Python's warnings and by the log."""
    told: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "open_clip" in record.pathname:
                told.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger().addHandler(listener)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield told
    finally:
        logging.getLogger().removeHandler(listener)
        told += [str(warning.message) for warning in caught]
