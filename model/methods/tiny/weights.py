"""Where the bundled weights of `tiny` lie and how they load."""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parent / "weights" / "tiny.safetensors"
TEMPLATE = "a photo of a {}."
