from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from loadtests import stream
from loadtests.stream import LATE, MAX_GROWTH, Memory, Stream, report

GOOD = Stream(
    "latest",
    sent=30,
    answered=20,
    dropped=10,
    latency=[60.0] * 20,
    own=[50.0] * 20,
    arrivals=[100.0 * index for index in range(20)],
)


def test_a_good_stream_has_no_faults() -> None:
    figures, faults = report(GOOD, 25, Memory())

    assert faults == []
    assert figures["lost"] == 0
    assert figures["frames_per_second"] == 10.0
    assert figures["frame_time_ms"] == 100.0  # the model's: it is slower than the camera
    assert figures["late_frame_times"] == {"p50": 0.1, "p95": 0.1, "max": 0.1}


@pytest.mark.parametrize(
    ("changes", "memory", "fault"),
    [
        ({"sent": 31}, Memory(), "lost"),
        ({"answered": 19, "failed": 1}, Memory(), "failed"),
        ({"out_of_order": 1}, Memory(), "order"),
        ({"policy": "none"}, Memory(), "dropped"),
        ({"sent": 10, "answered": 0}, Memory(), "nothing"),
        ({"latency": [51.0 + 100 * LATE] * 20}, Memory(), "late"),
        ({}, Memory(MAX_GROWTH + 1), "memory was kept"),
        ({}, Memory(0.0, 1151.0, 1000.0), "accounted"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], memory: Memory, fault: str) -> None:
    _, faults = report(replace(GOOD, **changes), 25, memory)

    assert len(faults) == 1
    assert fault in faults[0]


def test_answers_are_noted_by_what_they_are() -> None:
    counted = Stream("latest")
    answers = [
        pb.SegmentVideoResponse(frame_id="0", answer=pb.SegmentResponse(timings_ms=pb.Timings(image=7, queue=90))),
        pb.SegmentVideoResponse(frame_id="1", dropped=True),
        pb.SegmentVideoResponse(frame_id="2", error=pb.Problem(type="undecodable-image")),
        pb.SegmentVideoResponse(frame_id="4", dropped=True),
    ]

    for answer in answers:
        stream._note(counted, answer, [0.0] * 5)

    assert (counted.answered, counted.dropped, counted.failed, counted.out_of_order) == (1, 2, 1, 1)
    assert counted.own == [7.0]
