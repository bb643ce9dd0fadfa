"""Report pages: HTML that needs no other file, from jinja2 templates."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 82]
LAYOUT = Path(__file__).with_name("layout.html.j2")


def render(template: Path, **values: Any) -> str:
    """A page: `template` extends "layout.html.j2" with a block `body`; values are escaped."""
    loader = jinja2.FileSystemLoader([template.parent, LAYOUT.parent])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(template.name).render(**values)


def jpeg_url(rgb: NDArray[np.uint8]) -> str:
    """Pixels [H, W, 3] as a data URL."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
