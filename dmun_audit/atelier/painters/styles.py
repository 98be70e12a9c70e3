"""The styles: each function paints a scene as a picture (n, n, 3), float in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from dmun_audit.atelier.painters.fields import (
    cloud,
    contours,
    flatten,
    grain,
    luminance,
    mix,
    nearest_of,
    ramp,
    rgb,
    saturate,
    smear,
)
from dmun_audit.atelier.painters.scenes import Scene


def _grid(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    size = len(scene.part)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    return x, y


def _van_gogh(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(scene)
    size = len(x)
    flow = 0.8 * cloud(rng, size, 3)
    for _ in range(4):
        cx, cy = rng.uniform(0.05, 0.95, 2)
        pull = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.045)
        flow = flow * (1 - pull) + pull * (np.arctan2(y - cy, x - cx) + np.pi / 2)
    soft = ndimage.gaussian_filter(luminance(scene.colour), 3)
    across = np.arctan2(ndimage.sobel(soft, 0), ndimage.sobel(soft, 1)) + np.pi / 2
    flow = np.where(scene.subject, across + 0.9 * np.sin(7 * x + 5 * y + flow), flow)
    ridge = smear(grain(rng, size, 4), flow, 8)
    ridge = ridge / (np.abs(ridge).mean() + 1e-6)
    colour = saturate(scene.colour, 1.5)
    blue, gold = rgb(24, 62, 160), rgb(252, 206, 64)
    colour = mix(colour, blue, np.where(scene.subject, 0.08, 0.42))
    light = np.clip(0.5 * ridge, 0, 1)
    dark = np.clip(-0.5 * ridge, 0, 1)
    colour = mix(colour, gold * 0.55 + 0.45, np.where(scene.subject, 0.55, 0.75) * light)
    colour = mix(colour, rgb(12, 26, 84), np.where(scene.subject, 0.55, 0.72) * dark)
    lit = ndimage.sobel(ridge, 0) - ndimage.sobel(ridge, 1)
    outline = 0.6 * contours(scene.subject.astype(int), 2)
    return mix(colour + 0.025 * lit[..., None], rgb(14, 22, 62), outline)


def _munch(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(scene)
    phase = rng.uniform(0, 6.3, 3)
    sway = 0.09 * np.sin(5.5 * x + phase[0]) + 0.05 * np.sin(11 * x + 4 * y + phase[1])
    sway = sway + np.where(scene.subject, 0.06 * np.sin(9 * y + phase[2]), 0)
    band = np.sin(2 * np.pi * 7.5 * (y + sway))
    sky = ramp(
        np.clip(y * 1.5 + 0.25 * band, 0, 1), np.stack([rgb(200, 52, 24), rgb(232, 120, 36), rgb(150, 52, 44), rgb(34, 50, 68)])
    )
    local = saturate(scene.colour, 0.7) * 0.62
    local = mix(local, ramp(luminance(scene.colour), np.stack([rgb(16, 26, 40), rgb(40, 76, 84), rgb(196, 160, 96)])), 0.45)
    colour = np.where(scene.subject[..., None], local, mix(sky, local, 0.3))
    colour = colour * (0.93 + 0.2 * band[..., None])
    return mix(colour, rgb(18, 18, 34), 0.55 * contours(scene.subject.astype(int), 3))


def _monet(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    size = len(scene.part)
    shift = ndimage.uniform_filter(rng.normal(0, 1, (2, size, size)).astype(np.float32), (0, 4, 9)) * 26
    y, x = np.mgrid[0:size, 0:size]
    rows = np.clip(y + shift[0], 0, size - 1).astype(np.intp)
    columns = np.clip(x + shift[1], 0, size - 1).astype(np.intp)
    colour = ndimage.gaussian_filter(scene.colour[rows, columns], (1.6, 1.6, 0))
    daub = ndimage.uniform_filter(rng.normal(0, 1, (size, size, 3)).astype(np.float32), (4, 12, 0)) * 0.62
    haze = rgb(206, 200, 226)
    colour = mix(saturate(colour, 0.85), haze, 0.3) + 0.5 * 0.85 * daub * np.array([1.0, 0.8, 1.1], np.float32)
    return colour + 0.05


def _cezanne(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    size = len(scene.part)
    angle = np.full((size, size), -0.85 + 0.1 * rng.normal(), np.float32)
    stroke = smear(grain(rng, size, 5), angle, 9)
    stroke = stroke / (np.abs(stroke).mean() + 1e-6)
    stops = np.stack([rgb(52, 66, 70), rgb(92, 116, 84), rgb(190, 148, 78), rgb(226, 204, 156)])
    tone = np.clip(luminance(scene.colour) * scene.shade + 0.06 * stroke, 0, 1)
    colour = mix(saturate(scene.colour, 0.9) * scene.shade[..., None], ramp(tone, stops), 0.55)
    steps = np.round(colour * 7) / 7
    warm = np.clip(stroke, -1, 1)[..., None] * np.array([0.13, 0.07, -0.05], np.float32)
    colour = steps + warm + 0.05 * stroke[..., None]
    return mix(colour, rgb(40, 52, 78), 0.45 * contours(scene.subject.astype(int), 2))


def _seurat(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    size = len(scene.part)
    pitch = 6
    count = size // pitch + 2
    colour = mix(saturate(scene.colour, 1.35), rgb(244, 236, 214), 0.78)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    for turn in range(2):
        jitter = rng.uniform(-1.1, 1.1, (2, count, count))
        offset = turn * pitch / 2
        row = np.clip(((y + offset) // pitch).astype(np.intp), 0, count - 1)
        column = np.clip(((x + offset) // pitch).astype(np.intp), 0, count - 1)
        cy = (row + 0.5) * pitch - offset + jitter[0][row, column]
        cx = (column + 0.5) * pitch - offset + jitter[1][row, column]
        inside = (y - cy) ** 2 + (x - cx) ** 2 < 2.5**2
        source = scene.colour[np.clip(cy, 0, size - 1).astype(np.intp), np.clip(cx, 0, size - 1).astype(np.intp)]
        flip = rng.random((count, count))[row, column] < 0.16
        dot = np.where(flip[..., None], 1 - source, saturate(source, 1.8))
        tint = rng.uniform(-0.14, 0.14, (count, count, 3)).astype(np.float32)[row, column]
        colour = np.where(inside[..., None], np.clip(dot + tint, 0, 1) * 0.9, colour)
    return colour


_GAUGUIN = np.stack(
    [
        rgb(244, 134, 24),
        rgb(206, 42, 112),
        rgb(18, 132, 84),
        rgb(250, 208, 50),
        rgb(38, 56, 152),
        rgb(122, 58, 36),
        rgb(250, 196, 170),
        rgb(150, 70, 160),
    ]
)


def _gauguin(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    flat = saturate(flatten(scene.colour, scene.part), 2.2)
    index = nearest_of(flat, _GAUGUIN)
    colour = mix(_GAUGUIN[index], flat, 0.2)
    wobble = cloud(rng, len(index), 6)[..., None]
    return mix(colour + 0.03 * wobble, rgb(18, 24, 74), contours(scene.part, 4).astype(np.float32))


def _klimt(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(scene)
    size = len(x)
    gold = ramp(
        np.clip(0.5 + 0.4 * cloud(rng, size, 9), 0, 1), np.stack([rgb(164, 112, 24), rgb(222, 174, 50), rgb(250, 220, 120)])
    )
    pitch = 14
    rows, columns = (y * size).astype(int) // pitch, (x * size).astype(int) // pitch
    kind = rng.integers(0, 4, (size // pitch + 2, size // pitch + 2))[rows, columns]
    u, v = (x * size) % pitch - pitch / 2, (y * size) % pitch - pitch / 2
    radius = np.hypot(u, v)
    square = (np.maximum(abs(u), abs(v)) < 4.2) & (kind == 0)
    ring = (abs(radius - 4) < 1.4) & (kind == 1)
    spiral = (np.sin(radius * 1.5 - np.arctan2(v, u)) > 0.3) & (radius < 6) & (kind == 2)
    ink = [rgb(40, 26, 18), rgb(150, 50, 30), rgb(60, 40, 22)]
    ground = gold.copy()
    for mask, colour in zip((square, ring, spiral), ink, strict=True):
        ground = np.where(mask[..., None], colour, ground)
    body = mix(saturate(scene.colour, 1.1), gold, 0.42)
    fleck = (square | ring) & (rng.random((size // pitch + 2, size // pitch + 2))[rows, columns] < 0.35)
    body = np.where(fleck[..., None], mix(body, rgb(250, 224, 130), 0.6), body)
    colour = np.where(scene.subject[..., None], body, mix(ground, scene.colour, 0.08))
    return mix(colour, rgb(50, 30, 16), 0.8 * contours(scene.part * scene.subject, 2))


def _picasso(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(scene)
    size = len(x)
    points = rng.uniform(0, 1, (13, 2))
    stretch = np.array([1.0, 0.75])
    far = ((np.stack([x, y], -1)[..., None, :] - points) * stretch) ** 2
    facet = far.sum(-1).argmin(-1)
    moved = rng.uniform(-0.045, 0.045, (len(points), 2))[facet]
    turn = rng.uniform(-0.22, 0.22, len(points))[facet]
    centre = points[facet]
    dx, dy = x - centre[..., 0], y - centre[..., 1]
    sx = centre[..., 0] + dx * np.cos(turn) - dy * np.sin(turn) + moved[..., 0]
    sy = centre[..., 1] + dx * np.sin(turn) + dy * np.cos(turn) + moved[..., 1]
    rows = np.clip(sy * size, 0, size - 1).astype(np.intp)
    columns = np.clip(sx * size, 0, size - 1).astype(np.intp)
    tone = np.clip((luminance(scene.colour)[rows, columns] - 0.5) * 1.25 + 0.5, 0, 1)
    stops = np.stack([rgb(38, 34, 34), rgb(104, 90, 78), rgb(168, 146, 112), rgb(226, 212, 180)])
    colour = mix(ramp(tone, stops), scene.colour[rows, columns], 0.22)
    lean = rng.uniform(0, 6.3, len(points))[facet]
    slope = dx * np.cos(lean) + dy * np.sin(lean)
    colour = colour * (1 + 1.1 * slope[..., None])
    lines = contours(facet, 2) | contours(scene.part[rows, columns], 1)
    return mix(colour, rgb(24, 20, 22), 0.72 * lines)


def _hokusai(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    _, y = _grid(scene)
    tone = luminance(flatten(scene.colour, scene.part))
    stops = np.stack([rgb(20, 38, 86), rgb(46, 86, 140), rgb(132, 168, 190), rgb(240, 228, 196), rgb(246, 238, 214)])
    colour = stops[np.clip((tone * 5.6).astype(int), 0, 4)]
    flat = flatten(scene.colour, scene.part)
    red = (flat[..., 0] - flat[..., 1] > 0.3) & scene.subject
    colour = np.where(red[..., None], mix(colour, rgb(198, 92, 62), 0.5), colour)
    fade = np.clip(1 - y / rng.uniform(0.28, 0.4), 0, 1) * ~scene.subject
    cream = mix(colour, rgb(240, 228, 196), np.where(scene.subject, 0.0, 0.35 * (y < 0.6)))
    colour = mix(cream, rgb(28, 56, 118), 0.85 * fade)
    return mix(colour, rgb(14, 20, 44), 0.92 * contours(scene.part, 2))


_MONDRIAN = np.stack([rgb(222, 28, 30), rgb(250, 214, 20), rgb(24, 66, 176), rgb(246, 246, 240), rgb(22, 22, 24)])


def _mondrian(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    size = len(scene.part)
    cell = 8
    colour = saturate(scene.colour, 1.7)
    blocks = colour.reshape(size // cell, cell, size // cell, cell, 3).mean((1, 3))
    share = scene.subject.reshape(size // cell, cell, size // cell, cell).mean((1, 3))
    palette = _MONDRIAN[nearest_of(blocks, _MONDRIAN)]
    pale = np.where(share[..., None] > 0.4, palette, mix(palette, rgb(246, 246, 240), 0.72))
    picture = pale.repeat(cell, 0).repeat(cell, 1)
    index = nearest_of(picture, _MONDRIAN) + 7 * (share > 0.4).repeat(cell, 0).repeat(cell, 1)
    lines = contours(index, 3)
    for axis in (0, 1):
        for place in np.sort(rng.choice(np.arange(1, size // cell), 4, replace=False)) * cell:
            band = slice(int(place) - 2, int(place) + 2)
            if axis == 0:
                lines[band] = True
            else:
                lines[:, band] = True
    return mix(picture, rgb(12, 12, 14), lines.astype(np.float32))


def _rembrandt(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    x, y = _grid(scene)
    cx, cy = 0.45 + rng.uniform(-0.05, 0.05), 0.4 + rng.uniform(-0.05, 0.05)
    glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.11)
    tone = luminance(scene.colour) * scene.shade
    stops = np.stack([rgb(14, 8, 4), rgb(92, 54, 20), rgb(206, 148, 66), rgb(255, 228, 160)])
    colour = mix(ramp(np.clip(tone, 0, 1), stops), scene.colour * rgb(255, 214, 150), 0.3)
    light = np.where(scene.subject, 0.3 + 0.85 * glow, 0.1 + 0.22 * glow)
    return ndimage.gaussian_filter(colour * light[..., None], (1.1, 1.1, 0)) + rgb(14, 9, 5)


def _photograph(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    inside = ndimage.distance_transform_edt(scene.subject).astype(np.float32)
    round_ = np.clip(inside / 14, 0, 1)
    slope = ndimage.sobel(ndimage.gaussian_filter(round_, 2), 1) + ndimage.sobel(ndimage.gaussian_filter(round_, 2), 0)
    shadow = ndimage.gaussian_filter(np.roll(scene.subject.astype(np.float32), (5, 6), (0, 1)), 4) * ~scene.subject
    colour = saturate(scene.colour, 0.92) * scene.shade[..., None] * (1 - 0.45 * shadow[..., None])
    colour = colour * (1 + 0.32 * slope[..., None])
    return ndimage.gaussian_filter(colour, (1.3, 1.3, 0)) + 0.01 * rng.normal(size=())


_PAINTERS: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    "van-gogh": _van_gogh,
    "munch": _munch,
    "monet": _monet,
    "cezanne": _cezanne,
    "seurat": _seurat,
    "gauguin": _gauguin,
    "klimt": _klimt,
    "picasso": _picasso,
    "hokusai": _hokusai,
    "mondrian": _mondrian,
    "rembrandt": _rembrandt,
    "photograph": _photograph,
}
STYLES = tuple(_PAINTERS)


def render(style: str, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Paint `scene` in the style `style`: (n, n, 3), float, clipped to [0, 1]."""
    return np.clip(_PAINTERS[style](scene, rng), 0, 1)
