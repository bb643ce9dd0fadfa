"""Entities of pairs on disk: a JSON line for each photograph, and pairs that come with them instead of captions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lexiseg_model.data.pairs.source import Rewritten, StoredPair
from lexiseg_model.errors import DatasetError, SampleError

LISTING = "entities.jsonl"
SEPARATOR = "\n"  # between the entities of a photograph, where they stand in for its caption


def key_of(name: str) -> str:
    """What a pair is called in the listing, wherever its set lies: its file and the folder or shard around it."""
    return "/".join(Path(name).parts[-2:])


def read_entities(listing: Path) -> dict[str, tuple[str, ...]]:
    """Photograph's key -> its entities; the last line may be cut off.

    Raises:
        DatasetError: there is no such file, or a line in it is not one of the listing.
    """
    if not listing.exists():
        raise DatasetError(f"there are no entities at {listing}; `lexiseg data entities` writes them")
    table = {}
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            continue
        try:
            entry = json.loads(line)
            table[str(entry["name"])] = tuple(map(str, entry["entities"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f'{listing}:{number}: expected {{"name": ..., "entities": [...]}}: {error!r}') from None
    return table


@dataclass(frozen=True)
class WithEntities(Rewritten):
    """Pairs whose one caption is their entities, one a line; those that have none are broken."""

    table: Mapping[str, tuple[str, ...]]

    def read(self, part: int, index: int) -> StoredPair:
        pair = self.source.read(part, index)
        entities = self.table.get(key_of(pair.name), ())
        if not entities:
            raise SampleError(pair.name, "has no entities")
        return pair._replace(captions=(SEPARATOR.join(entities),))
