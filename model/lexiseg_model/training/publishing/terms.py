"""What pictures may be used for: the first line of the licence that lies in their folder."""

from __future__ import annotations

from pathlib import Path

NAMES = ("licence", "license", "copying")  # in whatever case, with whatever suffix
UNSTATED = "Not stated: the weights inherit the terms of what they were trained on."  # a recipe's `licence` says better
LONGEST = 120  # characters that a card tells


def with_terms(what: str, folder: Path) -> str:
    """An entry of `training_data`: what it is, where it lay, what it may be used for."""
    stated = terms(folder)
    return f"{what} ({folder}); {stated or 'its terms are not stated'}"


def terms(folder: Path) -> str | None:
    """The first line of the licence file; None where there is none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in files:
        if path.is_file() and path.name.partition(".")[0].lower() in NAMES:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            return next((line.strip(" #*")[:LONGEST] for line in lines if line.strip(" #*")), None)
    return None
