"""Pairs of images of a case for reports of other tools: as a piece of HTML, and as PNG files with base and candidate side by side."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from dmun_audit.evidence.schema import CaseRecord, ImageRecord
from dmun_audit.report.formatting import number, one_line
from dmun_audit.report.html.thumbnails import Thumbnail, picture, thumbnail
from dmun_audit.report.pairs import PAIRS_SHOWN, Pair, attacked_pairs, base_image, pairs_of

FileOf = Callable[[str], Path | None]
"""Gives the file of the image with a key; None if there is none."""

SIDE = 192  # pixels of the longer side in HTML
LARGE = 512  # pixels of the longer side in a PNG file
GAP = 8  # pixels between base and candidate

_STYLE = {
    "strip": "display:flex;flex-wrap:wrap;gap:12px;margin:4px 0 8px",
    "pair": "margin:0;padding:6px;border:1px solid #ccc;border-radius:4px;background:#fff;color:#222",
    "against": "margin:0;padding:6px;border:2px solid #b3261e;border-radius:4px;background:#fff;color:#222",
    "sides": "display:flex;gap:6px",
    "side": "display:flex;flex-direction:column;align-items:center;width:128px;font-size:11px",
    "image": "width:128px;height:auto;image-rendering:auto",
    "prompt": "max-width:262px;margin-top:4px;font-size:11px;overflow-wrap:anywhere",
}


@dataclass(frozen=True)
class PairPicture:
    """Base and candidate side by side. `name` says which is which, the prompt and the seed."""

    name: str
    png: bytes


def shown_pairs_of(record: CaseRecord, others: Sequence[CaseRecord] = ()) -> list[Pair]:
    """At most `PAIRS_SHOWN` pairs of a case: those that count against its claim first, and of these those with both images.

    A claim over a whole group has no images: its pairs are those against the claim of the group's single cases among `others`, one of
    each case before a second of any. An image of the base that such a pair lacks is taken from another case.
    """
    if not record.pooled:
        return _ordered(record)[:PAIRS_SHOWN]
    against = [[pair for pair in _ordered(each) if pair.against_claim] for each in others if each.group == record.group]
    ranked = sorted(((place, pair) for pairs in against for place, pair in enumerate(pairs)), key=lambda entry: entry[0])
    return [replace(pair, base=pair.base or base_image(others, pair)) for _, pair in ranked[:PAIRS_SHOWN]]


def _ordered(record: CaseRecord) -> list[Pair]:
    pairs = attacked_pairs(record) or pairs_of(record)
    return sorted(pairs, key=lambda pair: (not pair.against_claim, pair.base is None or pair.candidate is None))


def pairs_html(pairs: Sequence[Pair], file_of: FileOf) -> str:
    """The pairs as a piece of HTML that needs neither style sheet nor script; empty if there is no picture. All texts are escaped."""
    figures = [figure for pair in pairs if (figure := _figure(pair, file_of))]
    return f'<div style="{_STYLE["strip"]}">{"".join(figures)}</div>' if figures else ""


def _figure(pair: Pair, file_of: FileOf) -> str:
    sides = [(image, thumbnail(file_of(image.key), SIDE)) for image in (pair.base, pair.candidate) if image]
    if not any(shown for _, shown in sides):
        return ""
    pictures = "".join(_side(image, shown) for image, shown in sides)
    style = _STYLE["against" if pair.against_claim else "pair"]
    words = _prompt_and_seed(pair) + (". Counts against the claim." if pair.against_claim else "")
    return (
        f'<figure style="{style}"><div style="{_STYLE["sides"]}">{pictures}</div>'
        f'<figcaption style="{_STYLE["prompt"]}">{html.escape(words)}</figcaption></figure>'
    )


def _side(image: ImageRecord, shown: Thumbnail | None) -> str:
    said = [one_line(image.model)]
    if image.target_score is not None:
        said.append(f"target {number(image.target_score, 2)}")
    if image.detected is not None:
        said.append("detected" if image.detected else "not detected")
    if image.label:
        said.append(f"label: {one_line(image.label)}")
    alternative = html.escape(f"Image by the {one_line(image.model)} model: {one_line(image.prompt)}")
    shown_as = f'<img style="{_STYLE["image"]}" src="{shown.source}" alt="{alternative}">' if shown else "no picture"
    return f'<span style="{_STYLE["side"]}">{shown_as}{"".join(f"<span>{html.escape(words)}</span>" for words in said)}</span>'


def pair_pictures(pairs: Sequence[Pair], file_of: FileOf) -> list[PairPicture]:
    """The pairs as PNG files, base on the left. A pair without a readable image is left out."""
    made = []
    for pair in pairs:
        sides = [(image.model, picture(file_of(image.key), LARGE)) for image in (pair.base, pair.candidate) if image]
        shown = [(model, side) for model, side in sides if side is not None]
        if shown:
            names = " | ".join(one_line(model) for model, _ in shown)
            made.append(PairPicture(f"{names}: {_prompt_and_seed(pair)}", _side_by_side([side for _, side in shown])))
    return made


def _side_by_side(sides: Sequence[Image.Image]) -> bytes:
    width = sum(side.width for side in sides) + GAP * (len(sides) - 1)
    whole = Image.new("RGB", (width, max(side.height for side in sides)), "white")
    left = 0
    for side in sides:
        whole.paste(side, (left, 0))
        left += side.width + GAP
    stream = io.BytesIO()
    whole.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _prompt_and_seed(pair: Pair) -> str:
    seeds = {str(image.seed) for image in (pair.base, pair.candidate) if image and image.seed is not None}
    return f"“{one_line(pair.prompt)}”" + (f", seed {', '.join(sorted(seeds))}" if seeds else f", image {number(pair.index)}")
