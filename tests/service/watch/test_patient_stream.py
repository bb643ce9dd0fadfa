from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator

import pytest

from lexiseg_service.watch import patient_stream
from lexiseg_service.watch.patient_stream import PatientStream, patient

LINES = [f"line {number} {'x' * 200}" for number in range(2000)]  # more than a pipe holds


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def log(file: int, lines: list[str]) -> PatientStream:
    """As loggers do."""
    stream = PatientStream(file)
    handler = logging.StreamHandler(stream)
    for line in lines:
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, line, None, None))
    return stream


def read(file: int) -> str:
    os.set_blocking(file, False)
    content = b""
    while True:
        try:
            content += os.read(file, 2**20)
        except BlockingIOError:
            return content.decode()


def all_of(stream: PatientStream, file: int) -> str:
    """What a reader hears that reads on."""
    heard = ""
    while more := read(file):
        heard += more
        stream.flush()
    return heard


def test_nobody_waits_for_a_reader_that_stands_still_and_no_line_is_lost(pipe: tuple[int, int]) -> None:
    stream = log(pipe[1], LINES)

    heard = all_of(stream, pipe[0])
    assert heard.splitlines() == LINES


def test_what_is_too_much_is_lost_and_told(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_stream, "MOST_WAITING", 10_000)
    stream = log(pipe[1], LINES)

    heard = all_of(stream, pipe[0])
    stream.write("the next\n")
    stream.flush()
    *last, told, following = (heard + read(pipe[0])).splitlines()

    assert last == LINES[: len(last)]
    assert told == f"{len(LINES) - len(last)} lines are lost: nobody read them in time"
    assert following == "the next"


def test_what_nobody_can_read_any_more_is_let_go() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = log(writing, LINES)
    os.close(writing)

    assert not stream._waiting


def test_the_end_does_not_wait_for_ever(pipe: tuple[int, int]) -> None:
    stream = log(pipe[1], LINES)

    stream.finish(0.0)

    assert read(pipe[0]).splitlines()[0] == LINES[0]


def test_what_has_no_descriptor_stays_as_it_is() -> None:
    stream = io.StringIO()

    assert patient(stream) is stream
