"""The layout of an Ultralytics data set: images/, labels/, data.yaml, and the splits train.txt and val.txt."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

import yaml

VAL_SHARE = 10  # one picture in so many is for validation


def data_yaml(names: Sequence[str]) -> bytes:
    """Without `path`: trainers then resolve the splits against the folder of this file, wherever they are started."""
    content = {"train": "train.txt", "val": "val.txt", "names": dict(enumerate(names))}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


class Splits:
    """Writes both lists; use it as a context manager.

    The split depends on a picture's name, so that it stays where it is when others come. A trainer refuses an empty
    list: if one side gets no picture, the first picture of the other side is on both.
    """

    def __init__(self, train: TextIO, val: TextIO) -> None:
        self._lists = (train, val)
        self._first: list[str | None] = [None, None]

    def __enter__(self) -> Splits:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for side, name in enumerate(self._first):
            other = self._first[1 - side]
            if name is None and other is not None:
                self._lists[side].write(_line(other))

    def add(self, name: str) -> None:
        """One picture by its path below images/."""
        side = int(zlib.crc32(name.rpartition(".")[0].encode()) % VAL_SHARE == 0)
        self._first[side] = self._first[side] or name
        self._lists[side].write(_line(name))


def _line(name: str) -> str:
    return f"./images/{name}\n"
