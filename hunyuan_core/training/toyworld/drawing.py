"""Drawing a face: one painter per person, who keeps what does not move."""

from __future__ import annotations

import math

import numpy as np

from .geometry import POINTS, Geometry
from .identity import Colour, Identity

_SCALE = 2  # drawn twice as large and reduced, for smooth edges
_BITS = 4  # of a pixel, that OpenCV is given
_EYEBALL, _PUPIL, _MOUTH, _TEETH = (246.0, 246.0, 244.0), (18.0, 16.0, 20.0), (66.0, 18.0, 26.0), (244.0, 240.0, 232.0)
_TONGUE = (206.0, 88.0, 92.0)
_HALF = POINTS // 2


def render(identity: Identity, motion: np.ndarray, size: int = 128) -> np.ndarray:
    """Draw one picture; ``Painter`` is faster for many of one person.

    Args:
        motion: (11,) of one frame.
        size: Side of the picture, pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    return Painter(identity, size).draw(motion)


class Painter:
    """Draws one person."""

    def __init__(self, identity: Identity, size: int = 128) -> None:
        self.identity = identity
        self.size = size
        self._side = size * _SCALE
        self._line = max(1, round(self._side / 110))
        self._backdrop = self._draw_backdrop()

    def draw(self, motion: np.ndarray) -> np.ndarray:
        """Draw one frame; motion (11,), the result (size, size, 3) uint8 RGB."""
        import cv2

        geometry = Geometry(self.identity, motion)
        canvas = self._backdrop.copy()
        self._draw_back(canvas, geometry)
        self._draw_head(canvas, geometry)
        self._draw_nose(canvas, geometry)
        self._draw_mouth(canvas, geometry)
        for side in (-1, 1):
            self._draw_eye(canvas, geometry, side)
        self._draw_front_hair(canvas, geometry)
        thickness = max(1, round(self.identity.brow_thickness * self._side))
        for side in (-1, 1):  # over the hair, as cartoons have it
            self._stroke(canvas, geometry.brow(side), _shade(self.identity.hair, 0.5), thickness, is_closed=False)
        if self.identity.has_glasses:
            self._draw_glasses(canvas, geometry)
        return cv2.resize(canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)

    def _draw_back(self, canvas: np.ndarray, geometry: Geometry) -> None:
        """Hair behind the head, neck and ears."""
        identity = self.identity
        skin, hair = identity.skin, _shade(identity.hair, 0.8)
        width, height = identity.head_width, identity.head_height
        if identity.hair_style == "long":
            x = np.array([-1.2, -1.22, -1.1, 1.1, 1.22, 1.2])
            y = np.array([-0.2, 0.7, 1.45, 1.45, 0.7, -0.2])
            self._shape(canvas, geometry.on_plane(np.stack([x * width, y * height], -1)), hair)
            self._shape(canvas, geometry.outline(1.2, np.linspace(np.pi, 2 * np.pi, 25)), hair)
        if identity.hair_style == "bun":
            angle = np.linspace(0, 2 * np.pi, 20)
            bun = np.stack([0.09 * np.cos(angle), -1.13 * height + 0.09 * np.sin(angle)], -1)
            self._shape(canvas, geometry.on_plane(bun), hair)
        if identity.hair_style == "curly":
            for angle in np.linspace(0.85 * np.pi, 2.15 * np.pi, 9):
                middle = 1.02 * np.array([width * math.cos(angle), height * math.sin(angle)])
                turn = np.linspace(0, 2 * np.pi, 20)
                curl = middle + 0.085 * np.stack([np.cos(turn), np.sin(turn)], -1)
                self._shape(canvas, geometry.on_plane(curl), hair)
        chin = geometry.outline(0.8, np.array([0.8, 2.35]))
        neck = np.array([chin[1], chin[0], [0.63, 1.02], [0.37, 1.02]])
        self._shape(canvas, neck, _shade(skin, 0.82))
        for side in (-1, 1):
            self._shape(canvas, geometry.ear(side), _shade(skin, 0.92))

    def _draw_head(self, canvas: np.ndarray, geometry: Geometry) -> None:
        import cv2

        identity = self.identity
        outline = geometry.outline()
        self._fill(canvas, outline, identity.skin)
        if identity.has_freckles:
            for x in (-0.15, -0.12, -0.09, 0.09, 0.12, 0.15):
                for y in (0.05, 0.085):
                    spot = geometry.on_face(np.array([[x + 2 * y - 0.135, y]]))[0]
                    at = tuple(int(v) for v in np.round(spot * self._side * 2**_BITS))
                    cv2.circle(
                        canvas,
                        at,
                        round(self._side / 110 * 2**_BITS),
                        _shade(identity.skin, 0.7),
                        -1,
                        cv2.LINE_AA,
                        _BITS,
                    )
        if identity.has_beard:
            angles = np.linspace(0.06 * np.pi, 0.94 * np.pi, 14)
            inner = np.stack([np.linspace(-0.2, 0.2, 9), 0.15 + 0.02 * np.cos(np.linspace(-3, 3, 9))], -1)
            self._fill(
                canvas, np.concatenate([geometry.outline(0.995, angles), geometry.on_face(inner)]), identity.hair
            )
        self._light(canvas, outline, geometry.centre)
        if identity.style == "outlined":
            self._stroke(canvas, outline, self._ink(), self._line)

    def _light(self, canvas: np.ndarray, outline: np.ndarray, centre: np.ndarray) -> None:
        """Brighten the head towards the light."""
        import cv2

        identity = self.identity
        (x1, y1), (x2, y2) = (np.clip(f(outline * self._side), 0, self._side).astype(int) for f in (_low, _high))
        strength = identity.light_strength * (1.0 if identity.style == "soft" else 0.5)
        x = (np.arange(x1, x2, dtype=np.float32) / self._side - centre[0]) / identity.head_width
        y = (np.arange(y1, y2, dtype=np.float32) / self._side - centre[1]) / identity.head_height
        ramp = strength * (math.cos(identity.light_angle) * x[None] + math.sin(identity.light_angle) * y[:, None])
        if identity.style == "soft":
            ramp = ramp - 0.6 * strength * (x[None] ** 2 + y[:, None] ** 2) ** 2
        mask = np.zeros(ramp.shape, np.uint8)
        cv2.fillPoly(mask, [self._fixed(outline - np.array([x1, y1]) / self._side)], 255, cv2.LINE_AA, _BITS)
        part = canvas[y1:y2, x1:x2]
        factor = 1 + ramp.astype(np.float32) * (mask / np.float32(255))
        np.clip(part * factor[..., None], 0, 255, out=part, casting="unsafe")

    def _draw_nose(self, canvas: np.ndarray, geometry: Geometry) -> None:
        left, tip, right, top = geometry.nose()
        skin = self.identity.skin
        if self.identity.style == "outlined":
            self._stroke(canvas, np.array([top, tip, left]), self._ink(), self._line, is_closed=False)
            return
        self._fill(canvas, np.array([top, right, tip + (tip - top) * 0.1, left]), _shade(skin, 0.86))
        self._fill(canvas, np.array([top, tip, left]), _shade(skin, 1.06))

    def _draw_mouth(self, canvas: np.ndarray, geometry: Geometry) -> None:
        self._shape(canvas, geometry.lips(), self.identity.lips)
        inside = geometry.lips(0.0)
        lower, upper = _lower(inside), _upper(inside)
        if geometry.action.mouth_open < 0.04:
            self._stroke(canvas, lower, _shade(self.identity.lips, 0.5), self._line, is_closed=False)
            return
        self._fill(canvas, inside, _MOUTH)
        # Both edges run from left to right here, so that a mix of them is a line between.
        lower = lower[::-1]
        self._fill(canvas, np.concatenate([upper, (0.72 * upper + 0.28 * lower)[::-1]]), _TEETH)
        part = slice(POINTS // 8, -POINTS // 8)
        self._fill(canvas, np.concatenate([lower[part], (0.6 * lower + 0.4 * upper)[part][::-1]]), _TONGUE)

    def _draw_eye(self, canvas: np.ndarray, geometry: Geometry, side: int) -> None:
        import cv2

        eye = geometry.eye(side)
        ink = self._ink()
        if geometry.action.blink > 0.93:
            self._stroke(canvas, _lower(eye), ink, self._line + 1, is_closed=False)
            return
        (x1, y1), (x2, y2) = (
            np.clip(f(eye * self._side) + m, 0, self._side).astype(int) for f, m in ((_low, -2), (_high, 2))
        )
        if x2 <= x1 or y2 <= y1:
            return
        part = canvas[y1:y2, x1:x2]
        corner = np.array([x1, y1]) / self._side
        ball = np.empty_like(part)
        ball[:] = _EYEBALL
        for share, colour in ((1.0, self.identity.iris), (0.52, _PUPIL)):
            self._fill(ball, geometry.iris(side, share) - corner, colour)
        glint = geometry.iris(side, 0.22) - np.array([0.012, 0.014])
        self._fill(ball, glint - corner, (255.0, 255.0, 255.0))
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._fixed(eye - corner)], 255, cv2.LINE_AA, _BITS)
        share = (mask / np.float32(255))[..., None]
        part[:] = part * (1 - share) + ball * share
        self._stroke(canvas, _upper(eye), ink, self._line + 1, is_closed=False)
        if self.identity.style == "outlined":
            self._stroke(canvas, _lower(eye), ink, max(1, self._line - 1), is_closed=False)

    def _draw_front_hair(self, canvas: np.ndarray, geometry: Geometry) -> None:
        identity = self.identity
        if identity.hair_style == "bald":
            return
        height = identity.head_height
        line = -identity.hairline * height
        rim = geometry.outline(1.07, np.linspace(0.93 * np.pi, 2.07 * np.pi, 40))
        x = np.linspace(0.9, -0.9, 31)
        if identity.hair_style == "fringe":
            y = line + 0.07 + 0.02 * np.cos(9 * np.pi * x)
        elif identity.hair_style == "parted":
            y = line - 0.1 * np.exp(-(((x + 0.35) / 0.25) ** 2)) + 0.12 * x**2
        else:
            y = line + 0.14 * x**4 - 0.012 * np.cos(3 * np.pi * x)
        edge = geometry.on_face(np.stack([x * identity.head_width, y], -1))
        self._shape(canvas, np.concatenate([rim, edge]), identity.hair)

    def _draw_glasses(self, canvas: np.ndarray, geometry: Geometry) -> None:
        size, ink = self.identity.eye_size, (30.0, 30.0, 36.0)
        angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
        rims = []
        for side in (-1, 1):
            middle = np.array([side * self.identity.eye_distance, -0.045 * geometry.scale])
            rim = np.stack([np.cos(angle), 0.9 * np.sin(angle)], -1) * size * 1.25
            rims.append(geometry.on_face(middle + rim, 0.02))
            self._stroke(canvas, rims[-1], ink, self._line)
        self._stroke(canvas, np.array([rims[0][0], rims[1][_HALF]]), ink, self._line, is_closed=False)

    def _draw_backdrop(self) -> np.ndarray:
        """Background and clothes, which stand still."""
        identity, side = self.identity, self._side
        rng = np.random.default_rng(identity.background_seed)
        first, second = np.array(identity.background), np.array(identity.background_detail)
        angle = rng.uniform(0, 2 * np.pi)
        x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
        share = 0.5 + 0.35 * (math.cos(angle) * x + math.sin(angle) * y)
        style = identity.background_style
        if style in ("stripes", "checks"):
            share = 0.5 + 0.5 * np.sign(np.sin(rng.uniform(6, 14) * (math.cos(angle) * x + math.sin(angle) * y)))
        if style == "checks":
            share = np.abs(share - (np.sin(rng.uniform(6, 14) * (math.cos(angle) * y - math.sin(angle) * x)) > 0))
        canvas = (first + (second - first) * share[..., None]).clip(0, 255).astype(np.uint8)
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        if style == "bubbles":
            for _ in range(12):
                circle = rng.uniform(0, 1, 2) + rng.uniform(0.03, 0.12) * np.stack([np.cos(turn), np.sin(turn)], -1)
                self._fill(canvas, circle, tuple(first + (second - first) * rng.uniform(-0.5, 1.5)))
        elif style == "hills":
            for level in (0.35, 0.5, 0.65):
                ridge = level + rng.uniform(0.02, 0.08) * np.sin(rng.uniform(3, 12) * turn / 6 + rng.uniform(0, 6))
                hill = np.concatenate([np.stack([turn / 6.02, ridge], -1), [[1, 1], [0, 1]]])
                self._fill(canvas, hill, tuple(second * (1.25 - level)))
        elif style == "shelves":
            for level in (0.3, 0.6, 0.9):
                left = 0.0
                while left < 1:
                    right = left + rng.uniform(0.03, 0.09)
                    top = level - rng.uniform(0.12, 0.24)
                    self._fill(
                        canvas,
                        np.array([[left, top], [right, top], [right, level], [left, level]]),
                        tuple(rng.uniform(40, 220, 3)),
                    )
                    left = right + 0.005
        self._draw_clothes(canvas)
        return canvas

    def _draw_clothes(self, canvas: np.ndarray) -> None:
        import cv2

        identity = self.identity
        angle = np.linspace(np.pi, 2 * np.pi, 20)
        shoulders = np.stack([0.5 + 0.46 * np.cos(angle), 1.06 + 0.2 * np.sin(angle)], -1)
        cloth = np.empty_like(canvas)
        cloth[:] = identity.clothes
        if identity.clothes_style == "stripes":
            for y in np.arange(0.86, 1.0, 0.05):
                self._fill(cloth, np.array([[0, y], [1, y], [1, y + 0.022], [0, y + 0.022]]), identity.clothes_detail)
        elif identity.clothes_style == "dots":
            turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            for x in np.arange(0.05, 1, 0.09):
                for y in (0.9, 0.97):
                    dot = np.stack([x + 0.018 * np.cos(turn), y + 0.018 * np.sin(turn)], -1)
                    self._fill(cloth, dot, identity.clothes_detail)
        elif identity.clothes_style == "collar":
            self._fill(
                cloth,
                np.array([[0.3, 0.84], [0.5, 1.0], [0.7, 0.84], [0.7, 0.93], [0.5, 1.09], [0.3, 0.93]]),
                identity.clothes_detail,
            )
        mask = np.zeros(canvas.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._fixed(shoulders)], 255, cv2.LINE_AA, _BITS)
        share = (mask / np.float32(255))[..., None]
        canvas[:] = canvas * (1 - share) + cloth * share

    def _shape(self, canvas: np.ndarray, points: np.ndarray, colour: Colour) -> None:
        """Fill, and outline where the style has outlines."""
        self._fill(canvas, points, colour)
        if self.identity.style == "outlined":
            self._stroke(canvas, points, self._ink(), self._line)

    def _fill(self, canvas: np.ndarray, points: np.ndarray, colour: Colour) -> None:
        import cv2

        cv2.fillPoly(canvas, [self._fixed(points)], colour, cv2.LINE_AA, _BITS)

    def _stroke(
        self, canvas: np.ndarray, points: np.ndarray, colour: Colour, thickness: int, is_closed: bool = True
    ) -> None:
        import cv2

        cv2.polylines(canvas, [self._fixed(points)], is_closed, colour, thickness, cv2.LINE_AA, _BITS)

    def _fixed(self, points: np.ndarray) -> np.ndarray:
        """Shares of the side to OpenCV's fixed point numbers, whose first pixel has its centre at 0."""
        return np.round((points * self._side - 0.5) * 2**_BITS).astype(np.int32)

    def _ink(self) -> Colour:
        return _shade(self.identity.hair, 0.35)


def _lower(outline: np.ndarray) -> np.ndarray:
    """Lower edge of an eye or a mouth, from right to left."""
    return outline[: _HALF + 1]


def _upper(outline: np.ndarray) -> np.ndarray:
    """Upper edge of an eye or a mouth, from left to right."""
    return np.roll(outline, -_HALF, axis=0)[: _HALF + 1]


def _low(points: np.ndarray) -> np.ndarray:
    return np.floor(points.min(0))


def _high(points: np.ndarray) -> np.ndarray:
    return np.ceil(points.max(0)) + 1


def _shade(colour: Colour, factor: float) -> Colour:
    """Darken (below 1) or brighten a colour."""
    r, g, b = (min(channel * factor, 255.0) for channel in colour)
    return r, g, b
