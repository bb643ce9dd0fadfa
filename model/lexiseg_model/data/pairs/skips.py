"""How many pairs could not be read, which, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lexiseg_model.data.pairs.source import Skipped


class Skips:
    """Each broken pair once, however often it is drawn; with a file, a JSON line each, kept over a resume.

    One process writes to a file.
    """

    def __init__(self, listing: Path | None = None) -> None:
        self._listing = listing
        self.reasons: dict[str, str] = {}
        if listing is not None and listing.exists():
            content = listing.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]  # a kill may have cut the last line
            if whole != content:
                listing.write_bytes(whole)
            self.reasons = {entry["name"]: entry["reason"] for entry in map(json.loads, whole.splitlines())}

    def __len__(self) -> int:
        return len(self.reasons)

    def add(self, skipped: Iterable[Skipped]) -> None:
        """Counts those that are new, and writes them down."""
        fresh = {entry.name: entry.reason for entry in skipped if entry.name not in self.reasons}
        self.reasons |= fresh
        if fresh and self._listing is not None:
            self._listing.parent.mkdir(parents=True, exist_ok=True)
            with self._listing.open("a") as lines:
                lines.writelines(json.dumps({"name": name, "reason": why}) + "\n" for name, why in fresh.items())

    def summary(self) -> str:
        """One line, such as `2 samples could not be read, as a/000.jpg: cannot be read as an image`."""
        if not self.reasons:
            return "every sample could be read"
        name, reason = next(iter(self.reasons.items()))
        return f"{len(self):,} sample{'s' * (len(self) > 1)} could not be read, as {name}: {reason}"
