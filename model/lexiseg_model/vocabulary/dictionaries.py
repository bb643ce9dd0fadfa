"""Dictionaries into English: of FreeDict as dictd has them.

A pair of files: `NAME.index`, lines of headword, offset and length in base 64 digits (dictd(8)), and `NAME.dict.dz`, a
gzip file of chunks that can be read alone (dictzip(1)).
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DIGITS = {byte: value for value, byte in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
MAX_TRANSLATIONS = 25  # of a word
NOT_TEXT = re.compile(r"<[^>]*>\w*|\[[^\]]*\]|\((?:[^()]|\([^()]*\))*\)|\{[^}]*\}|/[^/]*/|^\s*\d+\.")
NOTES = ("     ", "see:", "Synonym", "Note:", '"')  # begin lines without translations


class Dictionary:
    """The translations of one language's words into English. Thread-safe."""

    def __init__(self, index: Path) -> None:
        self._index, self._text = _mapped(index), _mapped(index.with_suffix(".dict.dz"))
        lines = self._index[:].splitlines(keepends=True)
        hashes = np.array([hash(line.partition(b"\t")[0].decode().lower()) for line in lines])
        by_hash = hashes.argsort(kind="stable")
        self._hashes, self._lines = hashes[by_hash], np.cumsum([0, *map(len, lines)])[by_hash]  # and where they start
        # RFC 1952, and its extra field "RA" of dictzip: version, bytes of a chunk before compression, number of chunks.
        (extra,) = struct.unpack_from("<H", self._text, 10)
        self._chunk_bytes, count = struct.unpack_from("<HH", self._text, 18)
        sizes = struct.unpack_from(f"<{count}H", self._text, 22)
        start = 12 + extra
        if self._text[3] & 8:  # the name of the file
            start = self._text.find(b"\0", start) + 1
        self._starts = np.concatenate([[start], start + np.cumsum(sizes)]).tolist()

    def translations(self, word: str) -> list[str]:
        """The English translations of a word, in the dictionary's order; empty if it does not have the word."""
        found = [text for entry in self._entries(word) for text in _translations(entry)]
        return list(dict.fromkeys(found))[:MAX_TRANSLATIONS]

    def _entries(self, word: str) -> Iterator[str]:
        word = word.lower()
        first = np.searchsorted(self._hashes, hash(word), "left")
        last = np.searchsorted(self._hashes, hash(word), "right")
        for start in self._lines[first:last].tolist():
            headword, offset, length = self._index[start : self._index.find(b"\n", start)].split(b"\t")[:3]
            if headword.decode().lower() == word:
                yield self._read(_number(offset), _number(length)).decode(errors="replace")

    def _read(self, offset: int, length: int) -> bytes:
        first, last = offset // self._chunk_bytes, (offset + length) // self._chunk_bytes
        chunks = zip(self._starts[first : last + 1], self._starts[first + 1 : last + 2], strict=False)
        text = b"".join(zlib.decompressobj(-15).decompress(self._text[start:end]) for start, end in chunks)
        begin = offset - first * self._chunk_bytes
        return text[begin : begin + length]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _translations(entry: str) -> Iterator[str]:
    """The translations in a dictionary's entry: all lines but the headword's, without grammar, domains and examples."""
    _, _, body = entry.partition("\n")
    for line in body.replace(" kana alone", "\n").split("\n"):
        if not line.startswith(NOTES[0]) and not line.strip().startswith(NOTES[1:]):
            for part in re.split("[,;]", NOT_TEXT.sub("", line)):
                text = re.sub(r"^(a|an|the|to) ", "", part.strip().lower().replace("\u2010", "-"))
                if text:
                    yield text


def _number(digits: bytes) -> int:
    number = 0
    for digit in digits:
        number = 64 * number + DIGITS[digit]
    return number
