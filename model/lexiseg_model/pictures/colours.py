"""The colour space of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from lexiseg_model.pictures.note import GUESSED_COLOURS, Note


@dataclass(frozen=True)
class ColourSpace:
    """An ICC profile, empty for sRGB or where nothing is said, and notes on what is lost by converting from it."""

    profile: bytes = b""
    notes: tuple[Note, ...] = ()


SRGB = ColourSpace()


def unread_profile(reason: str) -> ColourSpace:
    """sRGB, with a note that there is a profile and why it was not read."""
    return ColourSpace(b"", (Note(GUESSED_COLOURS, f"the colour profile was not read, and sRGB assumed: {reason}"),))
