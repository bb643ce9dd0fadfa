"""Prompt templates by name, and the words that the methods let stand for a background.

The lists and where they come from are in `data/templates.json`; the strings are exactly those of the sources, full
stops, missing articles and all, because published figures depend on them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from lexiseg_model.errors import OptionError

DATA = Path(__file__).parent / "data" / "templates.json"
VOWELS = "aeiou"


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(DATA.read_text())
    return data


def template_names() -> tuple[str, ...]:
    """Names of all sets, such as `imagenet80` (OpenAI's), `tcl9`, `vild14`."""
    return tuple(_data()["sets"])


def template_set(name: str) -> list[str]:
    """The strings of a set, in their published order; `fill` puts a text in.

    Raises:
        OptionError: no set of that name.
    """
    sets = _data()["sets"]
    if name not in sets:
        raise OptionError(f"no template set {name!r}; there are {', '.join(template_names())}")
    return list(sets[name]["templates"])


def fill(template: str, text: str) -> str:
    """A template with a text in it: `{}`, or `{article}` (a or an) and `{category}`, are replaced."""
    article = "an" if text[:1].lower() in VOWELS else "a"
    parts = template.replace("{article}", article).replace("{category}", "{}").split("{}")
    return text.join(parts)  # joined at the end: braces of the text stay what they are


def background_words(name: str) -> tuple[str, ...]:
    """`bg26` (SCLIP, NACLIP, ProxyCLIP), `bg17` (ProxyCLIP on COCO-Object), `plain` (the word background).

    Raises:
        OptionError: no list of that name.
    """
    lists = _data()["background_words"]
    if name not in lists:
        raise OptionError(f"no list of background words {name!r}; there are {', '.join(lists)}")
    return tuple(lists[name])
