"""How many values a message holds, counted before it is parsed."""

from __future__ import annotations

from typing import Any

import pytest

from lexiseg_service.gateway.rpc.fields import has_more_values
from lexiseg_service.stubs import segmentation_pb2 as pb

QUESTION = pb.SegmentRequest(
    image=pb.Image(content=b"\x12\0" * 10_000),  # 2: the image and its content
    classes=[
        pb.Class(name="sky", threshold=0.5),  # 3
        pb.Class(name="tree", synonyms=["oak", "fir"], examples=[pb.Example(box=pb.Box(x0=1.0, x1=5.0))]),  # 8
    ],
    threshold=0.25,  # 1
)
N_VALUES = 14


def values(message: Any) -> tuple[bytes, int]:
    """Its bytes, and how many are counted in them."""
    content = message.SerializeToString()
    return content, next(n for n in range(100_000) if not has_more_values(content, message.DESCRIPTOR, n))


def test_values_of_all_parts_count_and_what_stands_in_an_image_does_not() -> None:
    assert values(QUESTION)[1] == N_VALUES


def test_numbers_without_a_tag_each_count_too() -> None:
    assert values(pb.Frame(unfollow=range(100)))[1] == 101


@pytest.mark.parametrize(
    "swarm",
    [b"\x12\0" * 1000, b"\x12\xa0\x1f" + b"\x12\0" * 2000, b"\x2a\0" * 1000, b"\xff\x7f\0" * 1000],
    ids=["classes", "synonyms of one class", "prompts", "fields that nobody knows"],
)
def test_a_swarm_of_empty_values_counts(swarm: bytes) -> None:
    assert has_more_values(swarm, pb.SegmentRequest.DESCRIPTOR, 999)
    assert not has_more_values(swarm, pb.SegmentRequest.DESCRIPTOR, 2001)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 50, b"\x09\0", b"\x12\x05\0"])
def test_what_is_no_message_is_left_to_who_parses_it(content: bytes) -> None:
    assert not has_more_values(content, pb.SegmentRequest.DESCRIPTOR, 50)
