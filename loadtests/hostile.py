"""What hostile clients send: legal requests that are as dear as they can be."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

from PIL import Image

from lexiseg_service.vocabularies.builtin import built_in
from loadtests.plain_client import posted, posted_file
from loadtests.scenes import MARK_BYTES, SIZE, generated

LARGE = (5472, 3648)  # 20 megapixels
THUMBNAIL = (160, 120)
N_CLASSES, N_SYNONYMS, TEXT_LENGTH = 2048, 8, 13  # as many as are taken; together less than 256 KiB
N_PROMPTS, N_POINTS = 256, 32  # likewise
# By what is asked or sent, not by how much of it comes.
SHAPES = ("classes", "prompts", "boxes", "dear", "files", "adapters")
LARGEST = (7300, 5475)  # 40 megapixels
ADAPTER = "hugging-face"  # answers with a PNG of the whole picture for each class
N_SCANS, N_TEXTS, N_STRIPS = 20, 2, 20_000  # of one file; a few more are refused


class Pictures:
    """Requests about pictures that are new to every cache."""

    def __init__(self) -> None:
        self._chance = random.Random(0)
        self.photograph = generated(0)
        with Image.open(io.BytesIO(self.photograph)) as picture:
            self.large, self.thumbnail = (_resized(picture, size) for size in (LARGE, THUMBNAIL))
        vocabulary = built_in("ade20k")
        assert vocabulary is not None
        self._names = [entry.name for entry in vocabulary.vocabulary.classes]
        clicks, boxes = ({"prompts": self._prompts(SIZE, boxes=boxes)} for boxes in (False, True))
        clicks_in_large = {"prompts": self._prompts(LARGE, boxes=False), "mask": "polygon"}
        everything = {"vocabulary": "coco-object", "task": "instance", "confidence": True, "overlay": True}
        self._shapes: dict[str, list[tuple[bytes, dict[str, Any]]]] = {
            "classes": [(self.thumbnail, {"vocabulary": "lvis"})],
            "prompts": [(self.photograph, clicks)],
            "boxes": [(self.photograph, boxes)],
            "dear": [(self.large, everything), (self.large, clicks_in_large)],
            "files": [(file, {"classes": self._names[:5]}) for file in _slow_files()],
            "adapters": [(self.large, {})],
        }

    def _prompts(self, size: tuple[int, int], *, boxes: bool) -> list[dict[str, Any]]:
        """As many as are taken: of as many points, or small boxes."""
        width, height = size
        if boxes:
            corners = [
                (self._chance.uniform(0, 0.9 * width), self._chance.uniform(0, 0.9 * height)) for _ in range(N_PROMPTS)
            ]
            return [{"box": [x, y, x + 0.1 * width, y + 0.1 * height]} for x, y in corners]
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
        """About the first classes of a known vocabulary."""
        return posted(picture + self._chance.randbytes(MARK_BYTES), {"classes": self._names[:n_classes]}, key)

    def marked(self, picture: bytes, n_classes: int, key: str) -> tuple[bytes, bytes]:
        """Likewise, and what tells this picture from others: for `Anew`."""
        mark = self._chance.randbytes(MARK_BYTES)
        return posted(picture + mark, {"classes": self._names[:n_classes]}, key), mark

    def shaped(self, shape: str, key: str) -> list[tuple[bytes, bytes]]:
        """Requests that are dear by what they ask, each with what tells its picture from others: for `Anew`."""
        requests = []
        for picture, question in self._shapes[shape]:
            mark = self._chance.randbytes(MARK_BYTES)
            if shape == "adapters":
                request = posted_file(f"/adapters/{ADAPTER}?vocabulary=ade20k", picture + mark, key)
            else:
                request = posted(picture + mark, question, key)
            requests.append((request, mark))
        return requests

    def long_list(self, key: str) -> bytes:
        """As many new words as one request may bring."""
        words = iter(lambda: f"{self._chance.getrandbits(48):0{TEXT_LENGTH}x}", "")
        classes = [
            {"name": next(words), "synonyms": [next(words) for _ in range(N_SYNONYMS)]} for _ in range(N_CLASSES)
        ]
        return posted(self.thumbnail + self._chance.randbytes(MARK_BYTES), {"classes": classes}, key)


def _resized(picture: Image.Image, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _slow_files() -> list[bytes]:
    """Small ones that take long to decode, or to tell their size."""
    seen_through = _written(Image.new("RGBA", LARGEST, (90, 120, 150, 128)), "WEBP", quality=0, method=0)
    again_and_again = _written(Image.new("RGB", LARGEST, (90, 120, 150)), "JPEG", progressive=True)
    last = again_and_again[again_and_again.rindex(b"\xff\xda") : -2]
    again_and_again = again_and_again[:-2] + last * (N_SCANS - again_and_again.count(b"\xff\xda")) + b"\xff\xd9"
    return [seen_through, again_and_again, _with_texts(), _of_strips()]


def _written(picture: Image.Image, kind: str, **how: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def _with_texts() -> bytes:
    """A PNG with texts that unpack to a megabyte each."""
    plain = _written(Image.new("RGB", THUMBNAIL), "PNG")
    end_of_head = plain.index(b"IHDR") + 4 + 13 + 4
    text = zlib.compress(bytes(10**6))
    chunks = b""
    for number in range(N_TEXTS):
        body = b"zTXt" + f"text {number}".encode() + b"\0\0" + text
        chunks += struct.pack(">L", len(body) - 4) + body + struct.pack(">L", zlib.crc32(body))
    return plain[:end_of_head] + chunks + plain[end_of_head:]


def _of_strips() -> bytes:
    """A TIFF of one row in each strip, all of which lie at one place."""
    width = 16
    tags = ((256, 1, width), (257, 1, N_STRIPS), (258, 1, 8), (259, 1, 1), (262, 1, 1), (277, 1, 1), (278, 1, 1))
    places, lengths = struct.pack("<L", 8) * N_STRIPS, struct.pack("<L", width) * N_STRIPS
    pixels = bytes(width)
    at = 8 + len(pixels)
    listed = [*tags, (273, N_STRIPS, at), (279, N_STRIPS, at + len(places))]
    entries = b"".join(struct.pack("<HHLL", tag, 4, count, value) for tag, count, value in sorted(listed))
    directory = struct.pack("<H", len(listed)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<L", at + 2 * len(places)) + pixels + places + lengths + directory
