"""Class lists that are as dear as they may be, new ones each time: attacks of `loadtests.fairness`."""

from __future__ import annotations

import base64
import itertools
import json
import secrets
from collections.abc import Iterator
from typing import Any

from loadtests.hostile import LARGE, N_CLASSES, N_SYNONYMS
from loadtests.plain_client import posted_json, put_json
from loadtests.scenes import SIZE

KINDS = ("vocabularies", "examples", "examples-large", "vocabularies-examples")
N_NAMES = 20  # of a key
N_PHOTOGRAPHS, N_LARGE = 16, 6  # as many as one request may bring; together less than 20 MB
# In each word and in the base64 behind each picture; what stands there is another each time. To be made anew, requests
# of megabytes would take the cores that they are to take from others.
MARK = b"-here-"


class NewLists:
    """Requests of a key, without an end.

    Args:
        kind: one of `KINDS`: vocabularies of new words that are put; classes by example in new photographs, asked about
            or put; the same with photographs of 20 megapixels.
        key: of the clients.
        pictures: a photograph, a large one and a thumbnail.
    """

    def __init__(self, kind: str, key: str, pictures: tuple[bytes, bytes, bytes]) -> None:
        photograph, large, thumbnail = pictures
        content: dict[str, Any]
        if kind == "vocabularies":
            content = {"classes": _words()}
        elif kind == "examples-large":
            content = {"classes": _by_example(large, LARGE, N_LARGE)}
        else:
            content = {"classes": _by_example(photograph, SIZE, N_PHOTOGRAPHS)}
        if kind.startswith("vocabularies"):
            body = json.dumps(content).encode()
            self._requests = [put_json(f"/vocabularies/new-{number}", body, key) for number in range(N_NAMES)]
        else:
            self._requests = [posted_json(json.dumps({**content, "image": _image(thumbnail, 0)}).encode(), key)]

    def __iter__(self) -> Iterator[bytes]:
        first = secrets.randbelow(len(self._requests))
        for number in itertools.count(first):
            request = self._requests[number % len(self._requests)]
            yield request.replace(MARK, secrets.token_hex(len(MARK) // 2).encode())


def _words() -> list[dict[str, Any]]:
    words = (f"{MARK.decode()}{number:07}" for number in itertools.count())
    return [{"name": next(words), "synonyms": [next(words) for _ in range(N_SYNONYMS)]} for _ in range(N_CLASSES)]


def _by_example(picture: bytes, size: tuple[int, int], count: int) -> list[dict[str, Any]]:
    box = [10, 20, size[0] // 2, size[1] // 2]
    return [
        {"name": f"class {number}", "examples": [{"box": box, "image": _image(picture, number)}]}
        for number in range(count)
    ]


def _image(picture: bytes, number: int) -> dict[str, str]:
    """Behind its file there is a number, so that no two of a request are the same."""
    whole = picture + bytes(-len(picture) % 3)
    return {"base64": f"{base64.b64encode(whole).decode()}{MARK.decode()}{number:02}"}
