"""Dictionaries into English: from a word its translations, in the dictionary's order; empty if it does not have it.

FreeDict's are pairs of files: `NAME.index`, lines of headword, offset and length in base 64 digits (dictd(8)), and
`NAME.dict.dz`, a gzip file of separate chunks (dictzip(1)). CC-CEDICT is a text with lines of a word's
traditional and simplified characters, its sound and its meanings: `馬 马 [ma3] /horse/`. Mueller's English-Russian
dictionary, of dictd too, is turned round.
"""

from __future__ import annotations

import gzip
import mmap
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

DIGITS = {byte: value for value, byte in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
MAX_TRANSLATIONS = 25  # of a word
NOT_TEXT = re.compile(r"<[^>]*>\w*|\[[^\]]*\]|\((?:[^()]|\([^()]*\))*\)|\{[^}]*\}|/[^/]*/|^\s*\d+\.")
ACCENTS = re.compile("[\u0300-\u036f]")  # combining ones
OF_OTHERS = re.compile("CL:|(?:\\w+ )?variant of |see |used in |surname ")  # begin no meanings, but references
# Of Mueller's dictionary: "1. _n. 1) собака, пёс; gay dog весельчак 2) кобель".
SENSES = re.compile(r"\b\d+[.)>] ?|_n\. ?")
EXAMPLES = re.compile("[;:].*")
RUSSIAN = re.compile("[\u0430-\u044f\u0451 -]+")  # letters in lower case
NOTES = ("     ", "see:", "Synonym", "Note:", '"')  # begin lines without translations
Translate = Callable[[str], list[str]]  # thread-safe


class Headwords:
    """Where the entries of headwords begin, found without regard to case and accents."""

    def __init__(self, words: Iterable[str], places: NDArray[np.int64]) -> None:
        hashes = np.fromiter((hash(without_accents(word)) for word in words), np.int64)
        by_hash = hashes.argsort(kind="stable")
        self._hashes, self._places = hashes[by_hash], places[by_hash]

    def places(self, word: str) -> list[int]:
        key = hash(without_accents(word))
        first, last = np.searchsorted(self._hashes, key, "left"), np.searchsorted(self._hashes, key, "right")
        return [int(place) for place in self._places[first:last]]


def without_accents(word: str) -> str:
    """A word in lower case, without accents and ligatures: "Öl" and "OL" are "ol", "konĳn" is "konijn"."""
    word = word.casefold()
    return word if word.isascii() else normalize("NFC", ACCENTS.sub("", normalize("NFKD", word.replace("œ", "oe"))))


class Dictionary:
    """A dictionary of FreeDict."""

    def __init__(self, index: Path) -> None:
        self._index, self._text = _mapped(index), _mapped(index.with_suffix(".dict.dz"))
        lines = self._index[:].splitlines(keepends=True)
        words = (line.partition(b"\t")[0].decode() for line in lines)
        self._headwords = Headwords(words, np.cumsum([0, *map(len, lines)])[:-1])
        # RFC 1952, and its extra field "RA" of dictzip: version, bytes of a chunk before compression, number of chunks.
        (extra,) = struct.unpack_from("<H", self._text, 10)
        self._chunk_bytes, count = struct.unpack_from("<HH", self._text, 18)
        sizes = struct.unpack_from(f"<{count}H", self._text, 22)
        start = 12 + extra
        if self._text[3] & 8:  # the name of the file
            start = self._text.find(b"\0", start) + 1
        self._starts = np.concatenate([[start], start + np.cumsum(sizes)]).tolist()

    def __call__(self, word: str) -> list[str]:
        entries = []
        for start in self._headwords.places(word):
            headword, offset, length = self._index[start : self._index.find(b"\n", start)].split(b"\t")[:3]
            entries.append((headword.decode(), (_number(offset), _number(length))))
        exact = [place for headword, place in entries if headword.lower() == word.lower()]
        of_other_accents = (place for headword, place in entries if without_accents(headword) == without_accents(word))
        places = exact or of_other_accents
        return _distinct(text for place in places for text in _translations(self._read(*place)))

    def _read(self, offset: int, length: int) -> str:
        first, last = offset // self._chunk_bytes, (offset + length) // self._chunk_bytes
        chunks = zip(self._starts[first : last + 1], self._starts[first + 1 : last + 2], strict=False)
        text = b"".join(zlib.decompressobj(-15).decompress(self._text[start:end]) for start, end in chunks)
        begin = offset - first * self._chunk_bytes
        return text[begin : begin + length].decode(errors="replace")


class ChineseDictionary:
    """CC-CEDICT, without its proper names."""

    def __init__(self, path: Path) -> None:
        self._text = _mapped(path)
        words: list[str] = []
        places: list[int] = []
        start = 0
        for line in iter(self._text.readline, b""):
            forms, _, sound = line.partition(b"[")
            if not line.startswith(b"#") and not sound[:1].isupper():
                words += forms.decode().split()
                places += [start] * (len(words) - len(places))
            start += len(line)
        self._headwords = Headwords(words, np.array(places, np.int64))

    def __call__(self, word: str) -> list[str]:
        texts: list[str] = []
        for start in self._headwords.places(word):
            forms, _, entry = self._text[start : self._text.find(b"\n", start)].decode().partition("[")
            if word in forms.split():
                meanings = entry.partition("/")[2].strip().strip("/").split("/")
                texts += [text for meaning in meanings if not OF_OTHERS.match(meaning) for text in _texts(meaning)]
        return _distinct(texts)


def with_pairs(pairs: Iterable[tuple[str, str]], others: Translate = lambda word: []) -> Translate:
    """A dictionary of pairs, a word of any accents and its English; the translations of another stand behind them."""
    known: dict[str, list[str]] = {}
    for word, english in pairs:
        known.setdefault(without_accents(word), []).append(english)
    return lambda word: _distinct([*known.get(without_accents(word), ()), *others(word)])


def russian_words(index: Path) -> list[tuple[str, str]]:
    """Pairs of a Russian word and its English, from Mueller's English-Russian dictionary: first senses first."""
    text = gzip.decompress(index.with_suffix(".dict.dz").read_bytes())
    pairs = []
    for line in index.read_bytes().splitlines():
        english, start, length = line.split(b"\t")[:3]
        entry = text[_number(start) : _number(start) + _number(length)].decode(errors="replace")
        senses = (_texts(EXAMPLES.sub("", sense)) for sense in SENSES.split(" ".join(entry.split())))
        of_senses = filter(None, (list(filter(RUSSIAN.fullmatch, sense)) for sense in senses))
        for rank, words in enumerate(of_senses):
            pairs += [(rank, word, english.decode(errors="replace").lower()) for word in words]
    return [(word, english) for _, word, english in sorted(pairs, key=itemgetter(0))]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _translations(entry: str) -> Iterator[str]:
    """The translations in an entry, of all lines but the headword's, without grammar, domains and examples."""
    _, _, body = entry.partition("\n")
    for line in body.replace(" kana alone", "\n").split("\n"):
        if not line.startswith(NOTES[0]) and not line.strip().startswith(NOTES[1:]):
            yield from _texts(line)


def _texts(line: str) -> Iterator[str]:
    for part in re.split("[,;]", NOT_TEXT.sub("", line)):
        if text := re.sub(r"^(a|an|the|to) ", "", part.strip().lower().replace("\u2010", "-")):
            yield text


def _distinct(translations: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(translations))[:MAX_TRANSLATIONS]


def _number(digits: bytes) -> int:
    number = 0
    for digit in digits:
        number = 64 * number + DIGITS[digit]
    return number
