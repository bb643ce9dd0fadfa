"""Report pages: HTML that needs no other file, from jinja2 templates."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 82]
LAYOUT = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1360px; padding: 0 1rem;
  color-scheme: light dark; }
h1 { font-size: 1.5rem; } h2 { font-size: 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8886; }
td:first-child, th:first-child, td.text { text-align: left; }
section { margin: 2rem 0; border-top: 1px solid #8886; }
figure { display: inline-block; margin: .3rem; vertical-align: top; }
figcaption, .quiet { opacity: .7; font-size: .85rem; }
img { max-width: 100%; display: block; border-radius: 4px; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
</style>
{% block body %}{% endblock %}
</html>
"""


def render(template: str, **values: Any) -> str:
    """A page: `template` extends "layout" with a block `body`; values are escaped."""
    loader = jinja2.DictLoader({"layout": LAYOUT, "page": template})
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("page").render(**values)


def jpeg_url(rgb: NDArray[np.uint8]) -> str:
    """Pixels [H, W, 3] as a data URL."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
