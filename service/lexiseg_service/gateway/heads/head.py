"""A head under a name: its classes and pictures, its document in a store, and its classes in a question."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson

from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.heads import Head
from lexiseg_service.gateway.times import expiry, has_passed, rfc3339
from lexiseg_service.records.documents import HEADS, slot_of
from lexiseg_service.records.store import Record

FINE_PASSES = 5  # of the whole picture and its quarters
ENTRY_BYTES = 600  # in memory, of a class or a picture
EARLIER_DAYS = 1.0  # in which a version that was replaced is found by NAME@VERSION
MAX_EARLIER_BYTES = 512 * 2**10  # of a head's earlier versions


@dataclass(frozen=True)
class KeptPicture:
    """A reviewed picture of a head: its key, and the part of the document that holds its lesson."""

    key: str
    part: str
    nbytes: int


@dataclass(frozen=True)
class NamedHead:
    """A head with its origin. `owner` is the id of the API key that made it, "" without keys: nobody else sees it.

    `keep_days` after it was `changed`, seconds since the epoch, it has expired; None: it stays. `left_out` says
    what a change did not use of its archive; it is not stored. `earlier` versions, newest first, without pictures,
    answer questions that began with them, as about a folder.
    """

    name: str
    owner: str
    model: str  # NAME@VERSION
    classes: tuple[ClassEntry, ...]
    pictures: tuple[KeptPicture, ...]
    solved: Head
    changed: float
    keep_days: float | None = None
    left_out: tuple[str, ...] = ()
    earlier: tuple[NamedHead, ...] = ()

    @property
    def expires(self) -> float | None:
        return expiry(self.changed, self.keep_days)

    @property
    def has_expired(self) -> bool:
        return has_passed(self.expires)

    @property
    def exact_name(self) -> str:
        """NAME@VERSION, of which no other head takes the place."""
        return f"{self.name}@{self.solved.version}"

    @property
    def etag(self) -> str:
        until = "" if self.expires is None else f"-{self.expires:.3f}"
        return f'"{self.solved.version}{until}"'

    @property
    def slot(self) -> str:
        return slot_of(self.name, self.owner)

    @cached_property
    def entries(self) -> tuple[ClassEntry, ...]:
        """Its classes with what they have learned, for a vocabulary."""
        return tuple(
            replace(entry, learned=learned) for entry, learned in zip(self.classes, self.solved.learned(), strict=True)
        )

    @property
    def record(self) -> Record:
        """Its columns in a store; the state is the number of its lessons."""
        number = str(len(self.pictures))
        return Record(HEADS, self.slot, self.owner, number, self.solved.version, self.expires, self.kept_bytes)

    @property
    def nbytes(self) -> int:
        """Approximate bytes in memory, without lessons."""
        arrays = (each.nbytes for each in (self.solved.directions, self.solved.places) if each is not None)
        own = ENTRY_BYTES * (len(self.classes) + len(self.pictures)) + 2 * sum(arrays)
        return own + sum(version.nbytes for version in self.earlier)

    @property
    def kept_bytes(self) -> int:
        """Bytes of its lessons and earlier versions in the store."""
        return bytes_of(self.pictures, self.earlier)

    def as_of(self, version: str) -> NamedHead | None:
        """The head in its present version or an earlier one that has not expired."""
        versions = (self, *self.earlier)
        return next((each for each in versions if each.solved.version == version and not each.has_expired), None)

    def earlier_of_next(self) -> tuple[NamedHead, ...]:
        """The earlier versions of a head that takes the place of this one."""
        last = replace(self, pictures=(), changed=time.time(), keep_days=EARLIER_DAYS, left_out=(), earlier=())
        versions = [version for version in (last, *self.earlier) if not version.has_expired]
        while sum(version.nbytes for version in versions) > MAX_EARLIER_BYTES:
            versions.pop()
        return tuple(versions)

    def stored(self) -> bytes:
        return orjson.dumps(self._document(), option=orjson.OPT_SORT_KEYS)

    def _document(self) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "model": self.model,
            "classes": [[entry.name, entry.synonyms, entry.thing] for entry in self.classes],
            "pictures": [vars(picture) for picture in self.pictures],
            "head": base64.b64encode(self.solved.to_bytes()).decode(),
            "changed": self.changed,
            "keep_days": self.keep_days,
            "earlier": [version._document() for version in self.earlier],
        }

    @classmethod
    def read(cls, slot: str, document: bytes) -> NamedHead:
        return cls._read(slot, orjson.loads(document))

    @classmethod
    def _read(cls, slot: str, content: Any) -> NamedHead:
        owner, _, name = slot.rpartition("~")
        classes = [ClassEntry(text, tuple(synonyms), thing=thing) for text, synonyms, thing in content["classes"]]
        pictures = tuple(KeptPicture(**picture) for picture in content["pictures"])
        solved = Head.from_bytes(base64.b64decode(content["head"]))
        if [entry.name for entry in solved.classes] != [entry.name for entry in classes]:
            raise ValueError("its classes are not those of its head")
        changed, keep_days = float(content.get("changed", 0)), content.get("keep_days")
        keep_days = None if keep_days is None else float(keep_days)
        earlier = tuple(cls._read(slot, version) for version in content.get("earlier", ()))
        return cls(name, owner, content["model"], tuple(classes), pictures, solved, changed, keep_days, earlier=earlier)

    def summary(self) -> dict[str, Any]:
        """The values of `schemas.HeadSummary`."""
        taught = zip(self.classes, self.solved.report(), strict=True)
        return {
            "name": self.name,
            "version": self.solved.version,
            "model": self.model,
            "pictures": len(self.pictures),
            "image_passes": FINE_PASSES if self.solved.is_fine else 1,
            "expires": rfc3339(self.expires),
            "classes": [{"synonyms": entry.synonyms, **learned} for entry, learned in taught],
        }

    def listed(self) -> bytes:
        return orjson.dumps(self.summary())

    def output(self) -> dict[str, Any]:
        wanting = [f"{entry.name} ({entry.wants} more)" for entry in self.solved.classes if entry.wants]
        detail = f"these classes should have more reviewed pictures: {', '.join(wanting)}"
        warnings = [{"type": "few-pictures", "detail": detail, "field": "pictures"}] if wanting else []
        warnings += [{"type": "left-out", "detail": sentence, "field": "archive"} for sentence in self.left_out]
        return {**self.summary(), "keys": [picture.key for picture in self.pictures], "warnings": warnings}


def bytes_of(pictures: Iterable[KeptPicture], earlier: Iterable[NamedHead]) -> int:
    return sum(picture.nbytes for picture in pictures) + sum(version.nbytes for version in earlier)
