"""The most expensive requests that the limits allow, for hostile clients."""

from __future__ import annotations

import io
import random
import zlib
from typing import Any

from PIL import Image

from lexiseg_service.gateway.vocabularies.named import built_in
from loadtests.plain_client import posted
from loadtests.scenes import MARK_BYTES, SIZE, generated

LARGE = (5472, 3648)  # 20 megapixels
THUMBNAIL = (160, 120)
N_CLASSES, N_SYNONYMS, TEXT_LENGTH = 2048, 8, 13  # the limits; all texts together stay below theirs of 256 KiB
N_PROMPTS, N_POINTS = 256, 32  # the limits
BOMB_BYTES = 18 * 10**6  # below the limit of an image
PNG_HEAD_BYTES = 33  # signature and IHDR
SHAPES = ("prompts", "expensive")  # requests that are expensive for one image


class Pictures:
    """Encoded requests about images that no cache has seen."""

    def __init__(self) -> None:
        self._chance = random.Random(0)
        self.photograph = generated(0)
        with Image.open(io.BytesIO(self.photograph)) as picture:
            self.large, self.thumbnail = (_resized(picture, size) for size in (LARGE, THUMBNAIL))
        vocabulary = built_in("ade20k")
        assert vocabulary is not None
        self._names = [entry.name for entry in vocabulary.vocabulary.classes]
        clicks = {"prompts": self._prompts(SIZE)}
        clicks_in_large = {"prompts": self._prompts(LARGE), "mask": "polygon"}
        everything = {"vocabulary": "coco-object", "task": "instance", "confidence": True, "overlay": True}
        self._shapes: dict[str, list[tuple[bytes, dict[str, Any]]]] = {
            "prompts": [(self.photograph, clicks)],
            "expensive": [(self.large, everything), (self.large, clicks_in_large)],
        }

    def _prompts(self, size: tuple[int, int]) -> list[dict[str, Any]]:
        """The largest number of prompts and points in one request, in an image of (width, height)."""
        width, height = size
        return [
            {
                "points": [
                    {
                        "x": round(self._chance.uniform(0, width)),
                        "y": round(self._chance.uniform(0, height)),
                        "positive": number % 2 == 0,
                    }
                    for number in range(N_POINTS)
                ]
            }
            for _ in range(N_PROMPTS)
        ]

    def request(self, picture: bytes, n_classes: int, key: str | None = None) -> bytes:
        """A request for the first classes of ADE20K's vocabulary."""
        return self.marked(picture, n_classes, key)[0]

    def marked(self, picture: bytes, n_classes: int, key: str | None) -> tuple[bytes, bytes]:
        """As `request`, with the bytes that make its image new, for `WithSerial`."""
        mark = self._chance.randbytes(MARK_BYTES)
        return posted(picture + mark, {"classes": self._names[:n_classes]}, key), mark

    def shaped(self, shape: str, key: str) -> list[tuple[bytes, bytes]]:
        """Requests of one of SHAPES, each with the bytes that make its image new, for `WithSerial`."""
        requests = []
        for picture, question in self._shapes[shape]:
            mark = self._chance.randbytes(MARK_BYTES)
            requests.append((posted(picture + mark, question, key), mark))
        return requests

    def long_list(self, key: str) -> bytes:
        """A request with the largest number of words, none of them seen before."""
        words = iter(lambda: f"{self._chance.getrandbits(48):0{TEXT_LENGTH}x}", "")
        classes = [
            {"name": next(words), "synonyms": [next(words) for _ in range(N_SYNONYMS)]} for _ in range(N_CLASSES)
        ]
        return posted(self.thumbnail + self._chance.randbytes(MARK_BYTES), {"classes": classes}, key)


def chunk_bombs(pictures: Pictures) -> list[bytes]:
    """A PNG of very many empty chunks, a JPEG of empty segments, and one of fill bytes between two segments."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(pictures.thumbnail)) as picture:
        picture.save(buffer, "PNG")
    png, jpeg = buffer.getvalue(), pictures.thumbnail
    chunk = bytes(4) + b"teSt" + zlib.crc32(b"teSt").to_bytes(4, "big")
    segment, fill = b"\xff\xef\x00\x02", b"\xff" * 4
    return [
        png[:PNG_HEAD_BYTES] + chunk * (BOMB_BYTES // len(chunk)) + png[PNG_HEAD_BYTES:],
        jpeg[:2] + segment * (BOMB_BYTES // len(segment)) + jpeg[2:],
        jpeg[:2] + fill * (BOMB_BYTES // len(fill)) + jpeg[2:],
    ]


def _resized(picture: Image.Image, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
