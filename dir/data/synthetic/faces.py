"""Procedural faces: 64 x 64 RGB portraits drawn from an age and an index, without a download.

A face is made of ellipses and strokes with soft edges, evaluated at all pixels of a block of faces at once.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dir._checks import message
from dir.data.synthetic.appearance import Traits, appearance

FACE_SIZE = 64
_BLOCK = 32  # number of faces drawn together; their planes fit into the cache
_NOISE = 256  # side of the noise field


@functools.cache
def _noise_field() -> tuple[Tensor, Tensor]:
    """Return white noise [3, H, W] and smooth noise [H, W] of unit variance; each face takes its own window."""
    side = _NOISE + FACE_SIZE
    white = torch.from_numpy(np.random.default_rng(64).standard_normal((3, side, side), dtype=np.float32))
    smooth = F.avg_pool2d(white[:1], 5, 1, 2)[0]
    return white, smooth / smooth.std()


class _Canvas:
    """A block of pictures, with the coordinates of the pixels in the frame of each face."""

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        n = len(traits["width"])
        axis = (torch.arange(FACE_SIZE) + 0.5) * (2 / FACE_SIZE) - 1
        self.row, self.column = axis.view(1, -1, 1), axis.view(1, 1, -1)
        dx, dy = self.column - self["shift_x"], self.row - self["shift_y"]
        self.x = (dx * self["cos"] + dy * self["sin"]) / self["zoom"]
        self.y = (dy * self["cos"] - dx * self["sin"]) / self["zoom"]
        self.pixel = 2 / FACE_SIZE / self["zoom"]
        self.image = torch.empty(n, 3, FACE_SIZE, FACE_SIZE)

    def __getitem__(self, name: str) -> Tensor:
        """Return a trait in a shape that broadcasts over the pixels: [n, 1, 1], colours [n, 3, 1, 1]."""
        value = self.traits[name]
        return value[..., None, None]

    def ellipse(self, x: Tensor, y: Tensor, a: Tensor | float, b: Tensor | float, soft: float = 1.0) -> Tensor:
        """Return the coverage of the ellipse |x / a|^2 + |y / b|^2 < 1, with an edge `soft` pixels wide."""
        inside = 1 - (x / a).square_() - (y / b).square_()
        return inside.mul_((a * b) ** 0.5 / (2 * soft * self.pixel)).add_(0.5).clamp_(0, 1)

    def ring(self, x: Tensor, y: Tensor, a: Tensor | float, b: Tensor | float, width: Tensor) -> Tensor:
        """Return the coverage of a stroke along the ellipse."""
        distance = (x / a).square_().add_((y / b).square_()).sqrt_().sub_(1).abs_()
        return 1 - distance.mul_((a * b) ** 0.5 / width).clamp_(max=1)

    def paint(self, mask: Tensor, colour: Tensor) -> None:
        """Blend the colour into the picture where the mask is above 0."""
        self.image.lerp_(colour.expand_as(self.image), mask.unsqueeze(1))

    def shade(self, mask: Tensor) -> None:
        """Darken the picture by the mask; negative values brighten it."""
        self.image.mul_((1 - mask).unsqueeze_(1))


def _window(field: Tensor, traits: Traits, turn: int) -> Tensor:
    """Return the window of each face in a noise field [..., H, W]; `turn` chooses another window of the same face."""
    rows = ((traits["noise_y"] * _NOISE).long() + 37 * turn) % _NOISE
    columns = ((traits["noise_x"] * _NOISE).long() + 91 * turn) % _NOISE
    return torch.stack(
        [
            field[..., r : r + FACE_SIZE, c : c + FACE_SIZE]
            for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
    )


def _draw_behind(c: _Canvas, strands: Tensor) -> Tensor:
    """Draw wall, long hair, neck and shoulders; return the colour of the hair at each pixel."""
    slope = c.column * c["wall_dx"] + c.row * c["wall_dy"]
    c.image.copy_(c["wall"] * (1 + slope).unsqueeze(1))
    # Hair turns grey in strands: the fraction decides how many strands, the noise decides which.
    mix = (strands * 0.18).add_(c["grey"] * 1.6 - 0.4).clamp_(0, 1)
    hair = torch.lerp(c["hair"], torch.tensor([0.84, 0.84, 0.83]).view(1, 3, 1, 1), mix.unsqueeze(1))
    hair.mul_((strands * 0.10).add_(1).unsqueeze(1))
    length = c["hair_length"]
    back = c.ellipse(c.x, c.y + 0.15 - 0.35 * length, c["width"] * 1.16, 0.85 + 0.45 * length)
    c.paint(back * (length > 0) * c["hair_alpha"], hair)
    neck = c.ellipse(c.x, c.y - 1.0, c["width"] * 0.55, 0.65)
    c.paint(neck, c["skin"] * 0.80)
    c.paint(c.ellipse(c.x, c.y - 1.95, c["width"] * 1.75, 0.8), c["clothes"])
    return hair


def _draw_skin(c: _Canvas, smooth: Tensor) -> Tensor:
    """Draw the ears, and the head with shading, spots and mottle; return the mask of the head."""
    x, y, width = c.x, c.y, c["width"]
    ear = c.ellipse(x.abs() - width * 0.98, y - c["eye_y"] - 0.1, width * 0.14, width * 0.26)
    c.paint(ear, c["skin"] * 0.88)
    # The lower half narrows towards the chin; sagging cheeks widen it again.
    lower = y.clamp(min=0)
    breadth = width * (1 - c["taper"] * lower.square())
    head = c.ellipse(x / breadth, y, 1.0, 1.0)
    c.paint(head, c["skin"])
    tone = (smooth * c["mottle"]).add_((x / width).square() * 0.16)
    tone.add_((smooth - 1.5 + 0.5 * c["spots"]).clamp_(min=0).mul_(0.5 * c["spots"]))
    hollow = c.ellipse(x.abs() - 0.50 * width / 0.76, y - c["mouth_y"] + 0.16, width * 0.18, width * 0.30, soft=6)
    tone.add_(hollow * (0.22 * c["sag"]))
    jowl = c.ellipse(x.abs() - c["mouth"] * 1.5, y - c["mouth_y"] - 0.20, width * 0.10, width * 0.22, soft=3)
    tone.add_(jowl * (0.20 * c["sag"]))
    c.shade(tone.mul_(head))
    cheek = c.ellipse(x.abs() - 0.48, y - c["nose_y"] - 0.04, 0.20 * width, 0.17 * width, soft=5)
    c.paint(cheek * c["blush"] * head, c["lip"] * torch.tensor([1.1, 0.95, 0.95]).view(1, 3, 1, 1))
    return head


def _draw_lines(c: _Canvas, x: Tensor, head: Tensor) -> None:
    """Draw forehead lines, crow's feet, bags under the eyes, folds beside the nose and lines beside the mouth."""
    y, lines, stroke = c.y, c["lines"], c.pixel * 1.6
    side = x.abs()
    wave = torch.cos((y + 0.18 * x.square()) * 38 + c["line_phase"]).clamp_(min=0)
    forehead = c.ellipse(x, y - c["brow_y"] + 0.24, c["width"] * 0.62, 0.20, soft=3)
    dark = wave * forehead * (0.34 * lines * c["forehead_gene"])
    dx, dy = side - c["eye_x"] - 1.55 * c["eye"], y - c["eye_y"]
    fan = torch.cos(torch.atan2(dy, dx + 0.14) * 11).clamp_(min=0)
    dark.add_(fan * c.ellipse(dx, dy, 0.11, 0.15, soft=2) * (0.42 * lines * c["feet_gene"]))
    ex, ey = side - c["eye_x"], y - c["eye_y"] - 0.02
    bag = c.ring(ex, ey, c["eye"] * 1.35, c["eye"] * (1.15 + 0.35 * c["sag"]), stroke) * (ey > 0.03)
    dark.add_(bag * (0.08 + 0.24 * c["sag"]))
    fx, fy = side, y - c["mouth_y"] - 0.02
    fold = c.ring(fx, fy, c["mouth"] * 1.42, c["mouth_y"] - c["nose_y"] + 0.08, stroke) * (fy < 0.06)
    dark.add_(fold * (0.36 * lines * c["fold_gene"]))
    mx, my = side - c["mouth"] * 1.18 - 0.12 * fy, fy - 0.12
    dark.add_(c.ellipse(mx, my, stroke * 0.7, 0.13) * (0.22 * lines.square() * c["fold_gene"]))
    c.shade(dark.clamp_(max=0.5).mul_(head))


def _draw_features(c: _Canvas, x: Tensor, hair: Tensor, head: Tensor) -> None:
    """Draw eyes, brows, nose, mouth and beard at the horizontal positions `x`, which the yaw has shifted."""
    y, eye, white = c.y, c["eye"], torch.full((1, 3, 1, 1), 0.93)
    beard = c.ellipse(x, y - 0.75, c["width"] * 0.72, 0.42, soft=4) * (y > c["nose_y"] + 0.05)
    c.paint(beard * c["beard"] * head, hair)
    ex, ey = x.abs() - c["eye_x"], y - c["eye_y"]
    opening = c.ellipse(ex, ey, eye, eye * c["eye_open"])
    c.shade(c.ellipse(ex, ey + 0.02, eye * 1.25, eye * (c["eye_open"] + 0.3), soft=2) * 0.14)
    c.paint(opening, white)
    iris = c.ellipse(ex, ey, eye * c["iris_size"], eye * c["iris_size"])
    c.paint(iris * opening, c["iris"])
    c.paint(c.ellipse(ex, ey, eye * 0.30, eye * 0.30) * opening, torch.full((1, 3, 1, 1), 0.05))
    lid = c.ring(ex, ey, eye * 1.05, eye * c["eye_open"] * 1.1, c.pixel * 1.3) * (ey < 0)
    c.shade(lid * 0.6)
    arch = y - c["brow_y"] - 0.9 * (ex.square() - 0.01)
    c.paint(c.ellipse(ex, arch, 0.18, c["brow"]) * 0.85, c["brow_hair"])
    ny = y - c["nose_y"]
    bridge = c.ellipse(x - c["nose"] * 0.8, ny + 0.16, c["nose"] * 0.35, 0.20, soft=3)
    base = c.ellipse(x, ny, c["nose"] * 1.1, c["nose"] * 0.45, soft=2)
    c.shade(bridge * 0.16 + base * 0.26)
    bend = y - c["mouth_y"] + c["smile"] * ((x / c["mouth"]).square() - 0.4)
    c.paint(c.ellipse(x, bend, c["mouth"], c["lips"]) * 0.8, c["lip"])
    c.shade(c.ellipse(x, bend, c["mouth"] * 0.95, c.pixel * 0.5) * 0.5)
    rim = c.ring(ex, ey, 0.25, 0.19, c.pixel * 1.4)
    rim = torch.maximum(rim, c.ellipse(x, ey, 0.10, c.pixel * 0.6))
    c.paint(rim * c["glasses"], torch.full((1, 3, 1, 1), 0.12))


def _draw_hair(c: _Canvas, hair: Tensor) -> None:
    """Draw the hair down to the hairline, which is arched, and higher at the temples of receding hair."""
    cap = c.ellipse(c.x, c.y, c["width"] * 1.07, 1.06)
    line = c["hairline"] + c["temples"] * (c.x / c["width"]).square() * 0.9
    above = ((line - c.y) / (2.5 * c.pixel)).add_(0.5).clamp_(0, 1)
    c.paint(cap * above * c["hair_alpha"], hair)


def _soften(image: Tensor) -> Tensor:
    """Blur by (1, 2, 1) / 4 along both axes, with repeated borders."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rows = (wide[:, :, 1:-1] * 2).add_(wide[:, :, :-2]).add_(wide[:, :, 2:])
    return (rows[..., 1:-1] * 2).add_(rows[..., :-2]).add_(rows[..., 2:]).mul_(1 / 16)


def _photograph(c: _Canvas, white: Tensor) -> Tensor:
    """Apply an object in front of the face, light, lens and sensor noise, and return bytes."""
    size = c["cover_size"]
    cover = c.ellipse(c.column - c["cover_x"], c.row - c["cover_y"], size, size * 0.7)
    c.paint(cover * c["cover"], c["clothes"].flip(1))
    light = 1 + c.column * c["light_x"] + c.row * c["light_y"]
    image = c.image * c["gain"] * light.clamp_(min=0.4).unsqueeze(1)
    image = torch.lerp(image, _soften(image), c["blur"].unsqueeze(1))
    image.add_(white * c["noise"].unsqueeze(1))
    return image.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def draw_faces(ages: Tensor, indices: Tensor) -> Tensor:
    """Draw one face per row, a deterministic function of (age, index).

    Args:
        ages: in years, [N].
        indices: int64 [N], non-negative; each index has its person, pose, light and camera. The same index at another
            age is the same person in the same picture, older or younger.

    Shape: uint8 [N, 3, 64, 64].

    Raises:
        ValueError: for shapes that differ, or ages that are negative or not finite.

    Example:
        >>> draw_faces(torch.tensor([8.0, 70.0]), torch.tensor([0, 1])).shape
        torch.Size([2, 3, 64, 64])
    """
    if ages.ndim != 1 or ages.shape != indices.shape:
        raise ValueError(
            message("ages", f"expected the shape [N] of indices {list(indices.shape)}", list(ages.shape))
        )
    if not bool((torch.isfinite(ages) & (ages >= 0)).all()):
        raise ValueError(message("ages", "expected finite numbers >= 0"))
    traits = appearance(ages, indices)
    white, smooth = _noise_field()
    faces = torch.empty(len(ages), 3, FACE_SIZE, FACE_SIZE, dtype=torch.uint8)
    for start in range(0, len(ages), _BLOCK):
        block = {name: value[start : start + _BLOCK] for name, value in traits.items()}
        canvas = _Canvas(block)
        hair = _draw_behind(canvas, _window(white[0], block, 1))
        head = _draw_skin(canvas, _window(smooth, block, 2))
        x = canvas.x - canvas["yaw"] * (1 - canvas.x.square()).clamp_(min=0)
        _draw_lines(canvas, x, head)
        _draw_features(canvas, x, hair, head)
        _draw_hair(canvas, hair)
        faces[start : start + _BLOCK] = _photograph(canvas, _window(white, block, 3))
    return faces
