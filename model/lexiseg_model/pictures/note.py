"""What a decoder had to guess, for the warnings of an answer."""

from __future__ import annotations

from typing import NamedTuple

GUESSED_DEPTH = "guessed-depth"
GUESSED_COLOURS = "guessed-colours"


class Note(NamedTuple):
    """A sentence, and its type: that of the warning."""

    type: str
    text: str
