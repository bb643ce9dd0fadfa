"""Where the bundled weights of `tiny` lie, and the template every text goes through."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "bundled"
BUNDLED = FOLDER / "tiny.safetensors"
TEMPLATE = "a photo of a {}."
