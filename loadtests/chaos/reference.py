"""The stored reference answers, and comparison with a tolerance for the rounding of other CPUs.

`python -m loadtests.chaos --write-reference` renews them after a change of weights or questions.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from numpy.typing import NDArray

from lexiseg_labels.masks.polygons import Ring, fill
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_model.types import Rle

FILE = Path(__file__).with_name("reference.json.gz")
MIN_AGREEMENT = 0.999  # of pixels
MAX_SCORE_DIFFERENCE = 0.01
MIN_SHARE = 0.001  # of the image; scores of smaller segments are not compared


class Shown(NamedTuple):
    """Score (0 to 1) and mask [H, W] of each label in an answer."""

    scores: dict[str, float]
    masks: dict[str, NDArray[np.bool_]]


def shown(answer: Mapping[str, Any] | Message) -> Shown:
    """Scores and masks of an answer over REST or gRPC, with masks as RLE or polygons."""
    content = MessageToDict(answer, preserving_proto_field_name=True) if isinstance(answer, Message) else answer
    size = content["size"]
    shape = (int(size["height"]), int(size["width"])) if isinstance(size, Mapping) else (int(size[0]), int(size[1]))
    segments = {segment["label"]: segment for segment in content.get("segments", [])}
    scores = {label: float(segment.get("score", 0.0)) for label, segment in segments.items()}
    return Shown(scores, {label: _mask(segment["mask"], shape) for label, segment in segments.items()})


def differences(name: str, seen: Shown, right: Shown) -> list[str]:
    """Differences beyond rounding, one line each."""
    wrong = []
    for label, mask in {**seen.masks, **right.masks}.items():
        nobody = np.zeros_like(mask)
        stored = right.masks.get(label, nobody)
        apart = np.count_nonzero(seen.masks.get(label, nobody) != stored)
        if apart > (1 - MIN_AGREEMENT) * mask.size:
            wrong.append(f"{name}: {label} differs from the stored answer in {apart:,} of {mask.size:,} pixels")
        if label in seen.scores and np.count_nonzero(stored) >= MIN_SHARE * mask.size:
            score, right_score = seen.scores[label], right.scores[label]
            if abs(score - right_score) > MAX_SCORE_DIFFERENCE:
                wrong.append(f"{name}: {label} scores {score:.3f}, the stored score is {right_score:.3f}")
    return wrong


def read_reference() -> dict[str, Shown]:
    """The reference answers by the name of their question."""
    stored = json.loads(gzip.decompress(FILE.read_bytes()))
    return {
        name: Shown(
            {label: segment["score"] for label, segment in segments.items()},
            {label: _decoded(segment["size"], segment["counts"]) for label, segment in segments.items()},
        )
        for name, segments in stored.items()
    }


def write_reference(answers: Mapping[str, Shown]) -> None:
    """Replace the reference answers."""
    stored = {
        name: {
            label: {"score": round(answer.scores[label], 4), "size": mask.shape, "counts": encode_mask(mask).counts}
            for label, mask in answer.masks.items()
        }
        for name, answer in answers.items()
    }
    FILE.write_bytes(gzip.compress(json.dumps(stored, sort_keys=True).encode(), mtime=0))


def _mask(mask: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode REST's {"format": "coco_rle", "counts": ...} or gRPC's {"coco_rle": {"counts": ...}}, or polygons."""
    content = mask if "format" in mask else next(iter(mask.values()))
    if "counts" in content:
        return _decoded(size, content["counts"])
    rings = content["rings"]
    return fill([Ring(_corners(ring["exterior"]), tuple(map(_corners, ring.get("holes", ())))) for ring in rings], size)


def _corners(content: Any) -> NDArray[np.int64]:
    """Corners [n, 2] from [x, y, x, y, ...]; gRPC's list is in a message."""
    flat = content["corners"] if isinstance(content, Mapping) else content
    return np.asarray(flat, np.int64).reshape(-1, 2)


def _decoded(size: Any, counts: str) -> NDArray[np.bool_]:
    return decode(Rle((size[0], size[1]), counts, 0, (0, 0, 0, 0)))
