"""Traits of the generated faces, computed from the age and a hash of the index.

Ageing acts through several systems (growth, lines, hair, sagging). Each has its own biological age, so that no single
trait reveals the age. Identity, light, pose and camera do not depend on the age.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

Traits = dict[str, Tensor]
"""One float32 tensor [N] (colours: [N, 3]) per trait."""

_DATASET = b"faces-1"  # part of each hash: another name gives another data set

_SKIN = ((0.97, 0.82, 0.72), (0.86, 0.65, 0.51), (0.62, 0.42, 0.30), (0.40, 0.26, 0.18))
_HAIR = ((0.08, 0.07, 0.07), (0.25, 0.15, 0.09), (0.48, 0.31, 0.17), (0.80, 0.64, 0.36), (0.55, 0.25, 0.12))
_IRIS = ((0.25, 0.15, 0.08), (0.40, 0.28, 0.14), (0.30, 0.42, 0.28), (0.32, 0.50, 0.68))
_GREY = torch.tensor([0.84, 0.84, 0.83])


def _uniform(indices: NDArray[np.uint64], name: str) -> Tensor:
    """Return uniform numbers in (0, 1), by SplitMix64 from the index and the trait's name; batches do not matter."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, salt=_DATASET).digest()
    z = indices * np.uint64(0x9E3779B97F4A7C15) + np.uint64(int.from_bytes(digest, "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0x1)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    # 23 bits and a half: float32 holds them all, and neither 0 nor 1 occurs. NumPy 1 would give float64 for an int.
    return torch.from_numpy(((z >> np.uint64(41)).astype(np.float32) + 0.5) / np.float32(2**23))


def _pick(palette: tuple[tuple[float, ...], ...], position: Tensor) -> Tensor:
    """Return a colour [N, 3] from a palette, interpolated at a position in [0, 1]."""
    table = torch.tensor(palette)
    at = position * (len(palette) - 1)
    low = at.long().clamp(max=len(palette) - 2)
    return torch.lerp(table[low], table[low + 1], (at - low).unsqueeze(1))


def appearance(ages: Tensor, indices: Tensor) -> Traits:
    """Return the traits of faces, a deterministic function of the age and the index of each row.

    Lengths are in units of half the head's height, with y pointing down and the head's centre at the origin;
    colours are RGB in [0, 1].

    Args:
        ages: in years, [N].
        indices: int64 [N], non-negative; the person, the pose, the light and the camera.

    Example:
        >>> young, old = appearance(torch.tensor([5.0, 80.0]), torch.tensor([7, 7]))["grey"]
        >>> bool(young < old)
        True

    Reference: the directions of change roughly follow craniofacial growth and ageing (low and large eyes in
    children, a growing jaw, later lines, grey hair, thinner lips). The numbers were chosen for this data set.
    """
    keys = indices.numpy().astype(np.uint64)
    age = ages.float()

    def u(name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * _uniform(keys, name)

    def n(name: str) -> Tensor:
        return torch.from_numpy(ndtri(_uniform(keys, name).double().numpy())).float()

    pace = torch.exp(0.05 * n("pace"))

    def biological(name: str, spread: float) -> Tensor:
        """Return the biological age of one system: a shared pace, its own pace, and an offset that grows with age."""
        return (age * pace * torch.exp(spread * n(name))).clamp(min=0.3)

    growth = 1 - torch.exp(-((biological("growth", 0.10) / 11.0) ** 1.3))
    lines = ((biological("lines", 0.10) - 20).clamp(min=0) / 62) ** 1.3
    sag = ((biological("sag", 0.10) - 28).clamp(min=0) / 58) ** 1.2
    skin_age = ((biological("skin age", 0.10) - 15).clamp(min=0) / 70) ** 1.1
    hair_age = biological("hair age", 0.08)
    grey = torch.sigmoid((hair_age - 53 - 8 * n("grey onset")) / 7.5)
    male = (u("sex") < 0.5).float()
    bald = male * u("bald gene") ** 1.5 * torch.sigmoid((hair_age - 46) / 11)
    thin = torch.sigmoid((hair_age - 78) / 8) * 0.5 + torch.exp(-hair_age / 1.5) * 0.7

    skin = _pick(_SKIN, u("skin") ** 1.4)
    pale = (0.28 * skin_age).clamp(max=0.4).unsqueeze(1)
    skin = torch.lerp(skin, skin.mean(1, keepdim=True) * torch.tensor([1.08, 1.0, 0.86]), pale)
    hair = _pick(_HAIR, u("hair"))
    beard = male * (u("beard") < 0.35) * torch.sigmoid((age - 20) / 2)

    eye_y = 0.31 - 0.28 * growth + 0.035 * n("eye height") + 0.04 * n("pitch")
    eye = (0.185 - 0.075 * growth) * torch.exp(0.06 * n("eye size"))
    nose_y = eye_y + 0.22 + (0.13 * growth + 0.05 * sag) * torch.exp(0.12 * n("nose length"))
    mouth_y = nose_y + 0.17 + 0.06 * growth + 0.02 * n("upper lip")
    rotation = 0.14 * n("roll")
    return {
        # geometry
        "width": (0.94 - 0.18 * growth + 0.035 * n("width")).clamp(0.66, 1.02),
        "taper": 0.34 - 0.14 * growth - 0.08 * sag + 0.05 * n("jaw"),
        "eye_y": eye_y,
        "eye": eye,
        "eye_open": (0.66 - 0.18 * growth - 0.14 * sag) * torch.exp(0.12 * n("lids")),
        "eye_x": 0.33 + 0.02 * n("eye distance"),
        "iris_size": 0.62 + 0.05 * n("iris size"),
        "brow_y": eye_y - eye * 0.75 - 0.09 + 0.015 * n("brow height"),
        "brow": (0.016 + 0.022 * growth + 0.012 * male * growth) * torch.exp(0.2 * n("brows")),
        "nose_y": nose_y,
        "nose": (0.07 + 0.05 * growth + 0.02 * sag) * torch.exp(0.12 * n("nose width")),
        "mouth_y": mouth_y,
        "mouth": (0.17 + 0.09 * growth) * torch.exp(0.10 * n("mouth width")),
        "lips": (0.068 - 0.034 * sag.clamp(max=1.3)) * torch.exp(0.15 * n("lips")),
        "smile": 0.05 * n("smile"),
        # ageing
        "lines": lines,
        "forehead_gene": u("forehead lines", 0.4, 1.0),
        "feet_gene": u("crow's feet", 0.4, 1.0),
        "fold_gene": u("folds", 0.5, 1.0),
        "line_phase": u("line phase", 0.0, 6.283),
        "sag": sag,
        "spots": (skin_age - 0.35).clamp(0, 0.8) * u("spots", 0.2, 0.8),
        "mottle": 0.012 + 0.04 * skin_age,
        "blush": 0.35 * (1 - growth) * u("blush", 0.4, 1.0),
        # hair
        "grey": grey,
        "hairline": -0.50 - 0.06 * n("hairline") - 0.55 * bald,
        "temples": 0.9 - 1.6 * bald + 0.3 * n("temples"),
        "hair_alpha": (1 - 0.75 * bald - thin).clamp(0.05, 1.0),
        "hair_length": torch.where(u("hair length") < 0.25 + 0.5 * (1 - male), u("long hair", 0.7, 1.25), 0.0),
        "beard": beard * u("beard density", 0.3, 0.9),
        # colours
        "skin": skin,
        "hair": hair,
        "brow_hair": torch.lerp(hair * 0.8, _GREY.expand_as(hair), (0.8 * grey).unsqueeze(1)),
        "lip": skin * torch.tensor([0.95, 0.62, 0.62]),
        "iris": _pick(_IRIS, u("iris")),
        "clothes": torch.stack([u("red"), u("green"), u("blue")], 1),
        "wall": torch.stack([u("wall red", 0.1, 0.8), u("wall green", 0.1, 0.8), u("wall blue", 0.1, 0.8)], 1),
        "wall_dx": 0.25 * n("wall dx"),
        "wall_dy": 0.25 * n("wall dy"),
        # pose, light, camera
        "cos": torch.cos(rotation),
        "sin": torch.sin(rotation),
        "zoom": 0.70 * torch.exp(0.07 * n("zoom")),
        "shift_x": 0.07 * n("shift x"),
        "shift_y": 0.07 * n("shift y"),
        "yaw": (0.09 * n("yaw")).clamp(-0.2, 0.2),
        "light_x": 0.20 * n("light x"),
        "light_y": 0.12 * n("light y"),
        "gain": torch.exp(0.13 * n("gain").unsqueeze(1) + 0.05 * torch.stack([n("warm"), n("tint"), n("cold")], 1)),
        "noise": u("noise", 0.01, 0.06),
        "noise_x": u("noise x"),
        "noise_y": u("noise y"),
        "blur": u("blur") ** 2,
        "glasses": (u("glasses") < 0.12).float(),
        "cover": (u("cover") < 0.20).float(),
        "cover_x": u("cover x", -0.9, 0.9),
        "cover_y": u("cover y", -0.9, 0.9),
        "cover_size": u("cover size", 0.15, 0.45),
    }
