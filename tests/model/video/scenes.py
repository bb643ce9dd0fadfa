"""Short scenes with known motion, cut from photographs, and frames as a camera spoils them."""

import io

import numpy as np
from PIL import Image

from lexiseg_model.features import Plan
from lexiseg_model.video.memory import Picture
from tests import pictures

WINDOW = (144, 192)  # rows, columns
READ_NOISE = 2.0  # gray levels
SHOT_NOISE = 0.12  # variance per gray level; a camera in a room


def window(name: str, x: int = 0, y: int = 0) -> Picture:
    """A part of a photograph: the camera looks `x`, `y` pixels away from its upper left corner."""
    whole = np.asarray(pictures.photograph(name))
    return np.ascontiguousarray(whole[y : y + WINDOW[0], x : x + WINDOW[1]])


def noisy(rgb: Picture, seed: int) -> Picture:
    """The same scene once more, through a sensor and an encoder."""
    chance = np.random.default_rng(seed)
    spoiled = rgb + chance.normal(0, np.sqrt(READ_NOISE**2 + SHOT_NOISE * rgb))
    content = pictures.encoded(Image.fromarray(spoiled.clip(0, 255).astype(np.uint8)), "JPEG", quality=80)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def plan_of(rgb: Picture) -> Plan:
    """One tile, the whole image."""
    return Plan((rgb.shape[0], rgb.shape[1]), np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])
