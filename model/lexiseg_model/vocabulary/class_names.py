"""Names of classes: as people copy them, with byte-order marks, soft hyphens and invisible blanks; names of stuff."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

# Unicode's default ignorable code points, without what emoji are made of.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0]"
)
# What the first class of a list may be called: it stands for pixels of no class.
BACKGROUND = "background"
# They join and part letters of Persian or Hindi, and choose the style of a sign: they stay, and make no other name.
JOINERS = re.compile("[\u200c\u200d\ufe00-\ufe0f]")
# Warnings about a word by its form: type, pattern (of Python and JavaScript), what follows the word.
DOUBTS: dict[str, list[str]] = json.loads(Path(__file__).with_name("doubts.json").read_bytes())


class ReadName(NamedTuple):
    """A name in its `plain` form, its `folded` form, and whether it `is_thing`."""

    plain: str
    folded: str
    thing: bool | None


def read_names(names: Iterable[str]) -> list[ReadName]:
    """Names as people write them."""
    return [ReadName(text := plain(name), folded(text), is_thing(text)) for name in names]


def plain(name: str) -> str:
    """One form of a name: NFC, without invisible characters and white space around it."""
    return (name if name.isascii() else unicodedata.normalize("NFC", INVISIBLE.sub("", name))).strip()


def folded(name: str) -> str:
    """What is equal for names of one class: neither capitals nor joiners count."""
    text = plain(name)
    return (text if text.isascii() else unicodedata.normalize("NFC", JOINERS.sub("", text))).casefold()


@cache
def stuff_names() -> frozenset[str]:
    return frozenset(json.loads(Path(__file__).with_name("stuff.json").read_bytes())["names"])


def is_thing(name: str) -> bool | None:
    """False for a name of stuff that cannot be counted, as sky or grass; None for other names."""
    return False if name.casefold() in stuff_names() else None
