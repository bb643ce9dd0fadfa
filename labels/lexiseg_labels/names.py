"""Names of files in data sets: the one rule for characters, duplicates and length."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import count

MAX_BYTES = 255  # of a name, in the file systems of Linux, macOS and Windows
DIGEST_BYTES = 4
LONGEST_CHARACTER = 4  # bytes, in UTF-8
ROOM = len("..geojson.unfinished")  # bytes besides a name in the longest of its files, while it is written
# What a file system, a line of a list or UTF-8 cannot hold.
UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\\\:*?"<>|]+')
UNSAFE_IN_PATH = re.compile(r"[\x00-\x1f\\]")  # leads into another folder, or is the end of a name
UNSAFE_IN_ADDRESS = re.compile(r"[^\w.\-]+")


def numbered(name: str) -> Iterator[str]:
    """NAME, NAME-2, NAME-3 and so on without end, for what must not replace anything."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def fitting(name: str, room: int = 0) -> str:
    """A name of at most 255 - `room` bytes; a longer one is cut, and ends in a digest of the whole."""
    encoded, max_bytes = os.fsencode(name), MAX_BYTES - room
    if len(encoded) <= max_bytes:
        return name
    end = max_bytes - 2 * DIGEST_BYTES - 1
    for _ in range(LONGEST_CHARACTER):  # not within a character
        end -= encoded[end] & 0xC0 == 0x80
    return f"{os.fsdecode(encoded[:end])}-{hashlib.blake2b(encoded, digest_size=DIGEST_BYTES).hexdigest()}"


def safe_name(source: str) -> str:
    """The name, without a suffix, of the files of a picture: folders of a path stay, an address becomes one name."""
    parts = [UNSAFE_IN_ADDRESS.sub("_", source)] if "://" in source else source.split("/")
    usable = [part for part in parts if part not in ("", ".", "..")] or ["_"]
    head, dot, _ = usable[-1].rpartition(".")
    if dot and head.strip("."):
        usable[-1] = head
    return "/".join(map(safe_stem, usable))


def safe_stem(stem: str, room: int = ROOM) -> str:
    """One part of a name. Unsafe characters become _; blanks around it, leading dots and # are left out.

    It fits with `room` further bytes. Readers strip blanks, and take the others for hidden files and comments.
    """
    return fitting(UNSAFE.sub("_", stem).strip().lstrip(".# ") or "_", room)


class Names:
    """Names for pictures, each once: a taken one gets a number.

    Systems that ignore case, or how an accent is written, keep them apart, too.
    """

    def __init__(self) -> None:
        self._hashes: set[int] = set()  # hashes: of a million names, 60 MB less

    def next_for(self, source: str) -> str:
        return self.first_free(safe_name(source))

    def first_free(self, name: str) -> str:
        """A safe name, with a number if it is taken."""
        folder, slash, last = name.rpartition("/")
        whole = (folder + slash + each for each in numbered(last))
        free = next(each for each in whole if _key(each) not in self._hashes)
        self._hashes.add(_key(free))
        return free


def _key(name: str) -> int:
    return hash(unicodedata.normalize("NFC", name.casefold()))
