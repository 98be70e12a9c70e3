"""Subjects as scenes: flat coloured shapes, a part number for every pixel, and a mask of the subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A drawn scene: `colour` (n, n, 3) float in [0, 1], `part` (n, n) int, `subject` (n, n) bool, `shade` (n, n) float."""

    colour: np.ndarray
    part: np.ndarray
    subject: np.ndarray
    shade: np.ndarray


class Canvas:
    """Draws shapes in unit coordinates (x to the right, y down), slightly moved and scaled at random."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.image = Image.new("RGB", (size, size))
        self.parts = Image.new("L", (size, size))
        self.inside = Image.new("L", (size, size))
        self._picture = ImageDraw.Draw(self.image)
        self._numbers = ImageDraw.Draw(self.parts)
        self._mask = ImageDraw.Draw(self.inside)
        self._next = 1
        self.scale = rng.uniform(0.92, 1.08)
        self.shift = rng.uniform(-0.04, 0.04, 2)
        self.behind = True

    def subject(self) -> None:
        """All later shapes belong to the subject."""
        self.behind = False

    def vary(self, colour: Colour, by: float = 14) -> Colour:
        """`colour`, slightly changed at random."""
        red, green, blue = (int(np.clip(value + self.rng.normal(0, by), 0, 255)) for value in colour)
        return red, green, blue

    def _place(self, points: Sequence[Point]) -> list[Point]:
        placed = np.asarray(points, dtype=float)
        if not self.behind:
            placed = (placed - 0.5) * self.scale + 0.5 + self.shift
        return [tuple(point) for point in placed * self.size]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        placed = self._place(points)
        self._picture.polygon(placed, fill=colour)
        self._numbers.polygon(placed, fill=self._next)
        self._mask.polygon(placed, fill=0 if self.behind else 255)
        self._next = self._next % 250 + 1

    def ellipse(self, x: float, y: float, across: float, down: float, colour: Colour, turn: float = 0.0) -> None:
        """A filled ellipse with the half axes `across` and `down`, rotated by `turn` radians."""
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        u, v = across * np.cos(angle), down * np.sin(angle)
        cos, sin = np.cos(turn), np.sin(turn)
        self.polygon(list(zip(x + u * cos - v * sin, y + u * sin + v * cos, strict=True)), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def bar(self, start: Point, end: Point, width: float, colour: Colour) -> None:
        """A straight bar from `start` to `end`."""
        along = np.asarray(end, float) - np.asarray(start, float)
        across = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-9) * width / 2
        corners = [np.asarray(start) + across, np.asarray(end) + across, np.asarray(end) - across, np.asarray(start) - across]
        self.polygon([tuple(corner) for corner in corners], colour)

    def ground(self, sky: Colour, land: Colour, horizon: float) -> None:
        """Sky above and land below the horizon."""
        self.box(-1, -1, 2, 2, self.vary(sky))
        self.box(-1, horizon, 2, 2, self.vary(land))


SKY, DAWN, NIGHT = (135, 185, 225), (235, 190, 150), (22, 30, 78)
GRASS, SEA, WALL = (105, 150, 70), (45, 105, 150), (150, 175, 190)


def _sunflowers(c: Canvas) -> None:
    c.ground(WALL, (150, 105, 65), 0.78)
    c.subject()
    heads = [(0.5, 0.36, 0.27), (0.25, 0.6, 0.17), (0.76, 0.6, 0.17)][: int(c.rng.integers(1, 4))]
    for x, y, _ in heads:
        c.bar((x, y), (0.5, 0.98), 0.045, (60, 120, 45))
    c.ellipse(0.4, 0.82, 0.13, 0.05, (70, 135, 50), 0.5)
    c.ellipse(0.62, 0.8, 0.13, 0.05, (70, 135, 50), -0.5)
    for x, y, r in heads[::-1]:
        turn = c.rng.uniform(0, 1)
        for k in range(13):
            a = turn + k * 2 * np.pi / 13
            petal = c.vary((250, 200, 25), 10)
            c.ellipse(x + 0.72 * r * np.cos(a), y + 0.72 * r * np.sin(a), 0.4 * r, 0.17 * r, petal, a)
        c.ellipse(x, y, 0.5 * r, 0.5 * r, (88, 52, 22))
        c.ellipse(x, y, 0.25 * r, 0.25 * r, (58, 32, 14))


def _tulips(c: Canvas) -> None:
    c.ground((205, 220, 230), (95, 150, 75), 0.82)
    c.subject()
    red = c.vary([(215, 35, 50), (225, 70, 120), (200, 40, 90)][int(c.rng.integers(3))])
    for x, y, r in [(0.5, 0.3, 0.17), (0.2, 0.42, 0.14), (0.8, 0.42, 0.14)]:
        c.bar((x, y), (x * 0.7 + 0.15, 0.97), 0.035, (50, 125, 55))
        c.polygon([(x - 0.02, 0.95), (x - 0.11, y + 0.28), (x + 0.03, 0.8)], (65, 140, 65))
        cup = [(x - r, y - r), (x - 0.5 * r, y - 0.35 * r), (x, y - 1.1 * r), (x + 0.5 * r, y - 0.35 * r), (x + r, y - r)]
        c.polygon([*cup, (x + 0.95 * r, y + 0.5 * r), (x, y + 1.15 * r), (x - 0.95 * r, y + 0.5 * r)], red)
        c.polygon(
            [(x - 0.4 * r, y - 0.35 * r), (x, y - 1.1 * r), (x + 0.4 * r, y - 0.35 * r), (x, y + r)], c.vary((240, 100, 110), 8)
        )


def _tree(c: Canvas) -> None:
    c.ground(SKY, GRASS, 0.75)
    c.subject()
    c.polygon([(0.44, 0.95), (0.46, 0.55), (0.54, 0.55), (0.57, 0.95)], (95, 62, 35))
    c.bar((0.5, 0.62), (0.32, 0.45), 0.04, (95, 62, 35))
    c.bar((0.5, 0.6), (0.68, 0.43), 0.04, (95, 62, 35))
    leaf = c.vary((45, 115, 45))
    for x, y, r in [(0.5, 0.28, 0.22), (0.3, 0.38, 0.18), (0.7, 0.38, 0.18), (0.5, 0.42, 0.2)]:
        c.ellipse(x, y, r, 0.88 * r, leaf)
    c.ellipse(0.42, 0.24, 0.1, 0.07, c.vary((95, 165, 70), 8))


def _house(c: Canvas) -> None:
    c.ground(SKY, GRASS, 0.78)
    c.subject()
    wall = c.vary((238, 222, 190), 8)
    c.box(0.2, 0.46, 0.8, 0.88, wall)
    c.polygon([(0.12, 0.48), (0.5, 0.14), (0.88, 0.48)], c.vary((185, 60, 40)))
    c.box(0.66, 0.14, 0.74, 0.34, (130, 60, 45))
    c.box(0.44, 0.62, 0.57, 0.88, (95, 55, 35))
    for x in (0.26, 0.64):
        c.box(x, 0.55, x + 0.12, 0.68, (70, 110, 150))
        c.bar((x + 0.06, 0.55), (x + 0.06, 0.68), 0.015, (245, 240, 230))


def _windmill(c: Canvas) -> None:
    c.ground((150, 200, 235), GRASS, 0.8)
    c.subject()
    c.polygon([(0.34, 0.94), (0.42, 0.4), (0.58, 0.4), (0.66, 0.94)], c.vary((165, 120, 85)))
    c.polygon([(0.4, 0.42), (0.5, 0.27), (0.6, 0.42)], (90, 60, 50))
    c.box(0.46, 0.76, 0.54, 0.94, (75, 45, 30))
    turn = c.rng.uniform(0.5, 1.07)
    for k in range(4):
        a = turn + k * np.pi / 2
        tip = (0.5 + 0.4 * np.cos(a), 0.4 + 0.4 * np.sin(a))
        side = (0.085 * np.cos(a + np.pi / 2), 0.085 * np.sin(a + np.pi / 2))
        near = (0.5 + 0.1 * np.cos(a), 0.4 + 0.1 * np.sin(a))
        c.polygon([near, tip, (tip[0] + side[0], tip[1] + side[1]), (near[0] + side[0], near[1] + side[1])], (245, 238, 220))
        c.bar((0.5, 0.4), tip, 0.022, (70, 45, 30))
    c.ellipse(0.5, 0.4, 0.03, 0.03, (60, 40, 30))


def _bridge(c: Canvas) -> None:
    c.ground(SKY, SEA, 0.6)
    c.polygon([(-0.1, 0.6), (0.25, 0.42), (0.5, 0.55), (0.8, 0.4), (1.1, 0.6)], (110, 145, 95))
    c.subject()
    stone = c.vary((172, 158, 140), 8)
    x = np.linspace(0, 1, 15)
    top = 0.42 - 0.14 * np.sin(np.pi * x)
    deck = list(zip(-0.05 + 1.1 * x, top, strict=True))
    c.polygon([*deck, (1.05, 0.76), (-0.05, 0.76)], stone)
    c.polygon([*deck, *[(px, py + 0.05) for px, py in deck[::-1]]], (105, 92, 80))
    for mid in (0.26, 0.74):
        a = np.linspace(np.pi, 2 * np.pi, 14)
        arch = list(zip(mid + 0.17 * np.cos(a), 0.76 + 0.27 * np.sin(a), strict=True))
        c.polygon([*arch, (mid + 0.17, 0.8), (mid - 0.17, 0.8)], (38, 80, 120))


def _boat(c: Canvas) -> None:
    c.ground((165, 205, 230), SEA, 0.64)
    c.subject()
    c.bar((0.5, 0.1), (0.5, 0.72), 0.025, (85, 55, 35))
    c.polygon([(0.53, 0.12), (0.53, 0.62), (0.86, 0.62)], c.vary((250, 245, 232), 5))
    c.polygon([(0.47, 0.2), (0.47, 0.62), (0.2, 0.62)], c.vary((225, 205, 170), 8))
    c.polygon([(0.12, 0.68), (0.9, 0.68), (0.76, 0.86), (0.26, 0.86)], c.vary((140, 50, 35)))
    c.behind = True
    for y in (0.88, 0.95):
        c.bar((0.05, y), (0.95, y), 0.02, (95, 150, 190))


def _mountain(c: Canvas) -> None:
    c.ground(SKY, (95, 135, 80), 0.8)
    c.polygon([(-0.1, 0.82), (0.15, 0.5), (0.45, 0.82)], (110, 125, 150))
    c.subject()
    peak = c.rng.uniform(0.42, 0.58)
    c.polygon([(0.04, 0.86), (peak, 0.12), (0.98, 0.86)], c.vary((88, 92, 118)))
    c.polygon([(peak, 0.12), (0.98, 0.86), (0.62, 0.86), (peak + 0.04, 0.5)], (62, 66, 92))
    left, right = peak - 0.17, peak + 0.19
    snow = [(peak, 0.12), (right, 0.4), (peak + 0.1, 0.35), (peak + 0.02, 0.46), (peak - 0.06, 0.36), (left, 0.41)]
    c.polygon(snow, (248, 250, 252))


def _moon(c: Canvas) -> None:
    c.ground(NIGHT, (20, 32, 40), 0.8)
    c.polygon([(-0.1, 0.85), (0.2, 0.7), (0.55, 0.82), (0.85, 0.68), (1.1, 0.85)], (14, 24, 34))
    for _ in range(6):
        x, y = c.rng.uniform((0.05, 0.05), (0.95, 0.6))
        c.ellipse(x, y, 0.016, 0.016, (240, 235, 200))
    c.subject()
    c.ellipse(0.5, 0.38, 0.27, 0.27, c.vary((70, 80, 130), 6))
    c.ellipse(0.5, 0.38, 0.22, 0.22, c.vary((250, 240, 180), 6))
    for x, y, r in [(0.43, 0.32, 0.045), (0.57, 0.42, 0.055), (0.47, 0.47, 0.03)]:
        c.ellipse(x, y, r, r, (215, 200, 145))


def _portrait(c: Canvas) -> None:
    c.ground([(110, 130, 110), (120, 105, 95), (95, 115, 140)][int(c.rng.integers(3))], (100, 90, 80), 2.0)
    c.subject()
    coat = c.vary([(50, 60, 95), (110, 45, 45), (55, 80, 60)][int(c.rng.integers(3))])
    hair = c.vary([(60, 38, 22), (150, 85, 35), (35, 28, 26)][int(c.rng.integers(3))], 8)
    skin = c.vary((232, 190, 155), 8)
    c.polygon([(0.02, 1.05), (0.16, 0.82), (0.4, 0.74), (0.6, 0.74), (0.84, 0.82), (0.98, 1.05)], coat)
    c.ellipse(0.5, 0.4, 0.27, 0.32, hair)
    c.box(0.42, 0.62, 0.58, 0.78, skin)
    c.ellipse(0.5, 0.46, 0.21, 0.27, skin)
    c.polygon([(0.29, 0.38), (0.36, 0.18), (0.5, 0.13), (0.64, 0.18), (0.71, 0.38), (0.6, 0.28), (0.4, 0.28)], hair)
    for x in (0.41, 0.59):
        c.ellipse(x, 0.43, 0.05, 0.03, (250, 250, 245))
        c.ellipse(x, 0.43, 0.024, 0.028, (40, 45, 60))
        c.bar((x - 0.055, 0.375), (x + 0.055, 0.37), 0.02, hair)
    c.polygon([(0.5, 0.44), (0.465, 0.55), (0.535, 0.55)], (205, 150, 120))
    c.bar((0.43, 0.63), (0.57, 0.63), 0.03, (180, 70, 70))


def _cat(c: Canvas) -> None:
    c.ground((225, 205, 170), (150, 110, 85), 0.82)
    c.subject()
    fur = c.vary([(225, 135, 50), (120, 115, 115), (50, 46, 50)][int(c.rng.integers(3))], 8)
    c.ellipse(0.5, 0.86, 0.24, 0.24, fur)
    for s in (-1, 1):
        c.polygon([(0.5 + s * 0.3, 0.42), (0.5 + s * 0.31, 0.08), (0.5 + s * 0.08, 0.26)], fur)
        c.polygon([(0.5 + s * 0.25, 0.33), (0.5 + s * 0.27, 0.16), (0.5 + s * 0.14, 0.26)], (235, 165, 165))
    c.ellipse(0.5, 0.46, 0.3, 0.26, fur)
    for s in (-1, 1):
        c.ellipse(0.5 + s * 0.12, 0.42, 0.07, 0.06, (185, 215, 70))
        c.ellipse(0.5 + s * 0.12, 0.42, 0.02, 0.055, (15, 15, 15))
    c.ellipse(0.5, 0.57, 0.11, 0.07, (245, 235, 225))
    c.polygon([(0.46, 0.52), (0.54, 0.52), (0.5, 0.57)], (215, 100, 110))
    for s in (-1, 1):
        for dy in (-0.03, 0.03):
            c.bar((0.5 + s * 0.09, 0.57), (0.5 + s * 0.36, 0.56 + dy * 2), 0.012, (250, 248, 240))


def _fish(c: Canvas) -> None:
    c.ground((50, 130, 165), (40, 105, 140), 0.5)
    c.subject()
    body = c.vary([(240, 130, 40), (225, 70, 60), (245, 190, 60)][int(c.rng.integers(3))], 8)
    red, green, blue = (int(value * 0.7) for value in body)
    dark = red, green, blue
    c.polygon([(0.68, 0.5), (0.95, 0.28), (0.89, 0.5), (0.95, 0.72)], dark)
    c.polygon([(0.34, 0.32), (0.48, 0.12), (0.66, 0.36)], dark)
    c.polygon([(0.4, 0.66), (0.5, 0.84), (0.6, 0.64)], dark)
    x = np.linspace(0, 1, 16)
    curve = 0.21 * np.sin(np.pi * x**0.8)
    upper = list(zip(0.06 + 0.68 * x, 0.5 - curve, strict=True))
    lower = list(zip(0.06 + 0.68 * x, 0.5 + curve, strict=True))[::-1]
    c.polygon([*upper, *lower], body)
    for stripe in (0.36, 0.5):
        c.bar((stripe, 0.33), (stripe, 0.67), 0.045, (250, 240, 220))
    c.ellipse(0.2, 0.45, 0.05, 0.05, (250, 250, 250))
    c.ellipse(0.195, 0.45, 0.025, 0.025, (10, 10, 15))


_DRAWERS: dict[str, Callable[[Canvas], None]] = {
    "sunflowers": _sunflowers,
    "tulips": _tulips,
    "tree": _tree,
    "house": _house,
    "windmill": _windmill,
    "bridge": _bridge,
    "boat": _boat,
    "mountain": _mountain,
    "moon": _moon,
    "portrait": _portrait,
    "cat": _cat,
    "fish": _fish,
}
SUBJECTS = tuple(_DRAWERS)


def draw_scene(subject: str, rng: np.random.Generator, size: int) -> Scene:
    """The scene of `subject` with `size` pixels on each side, varied by `rng`."""
    canvas = Canvas(rng, size)
    _DRAWERS[subject](canvas)
    colour = np.asarray(canvas.image, np.float32) / 255
    inside = np.asarray(canvas.inside) > 0
    y, x = np.mgrid[0:size, 0:size] / size
    light = 1.08 - 0.3 * (0.5 * x + 0.5 * y) + 0.05 * np.sin(9 * x + 5 * y)
    return Scene(colour, np.asarray(canvas.parts).astype(np.int32), inside, light.astype(np.float32))
