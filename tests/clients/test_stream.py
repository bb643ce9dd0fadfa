"""Video over gRPC, against a real server."""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from lexiseg_client import AsyncClient, Class, Client, Frame, NewQuestion, Point, Prompt, errors
from lexiseg_client.video import StreamItem
from tests import pictures
from tests.integration.server import Server

PICTURE = pictures.small("china", 160)
JPEG = pictures.encoded(PICTURE, "JPEG")


@pytest.fixture
def client(server: Server, target: str) -> Iterator[Client]:
    with Client(server.url, grpc_target=target) as client:
        yield client


def test_every_frame_is_answered_in_order(client: Client, tmp_path: Path) -> None:
    (tmp_path / "frame.jpg").write_bytes(JPEG)
    frames: list[StreamItem] = [JPEG, tmp_path / "frame.jpg", np.asarray(PICTURE), PICTURE, Frame(JPEG, 40_000, "last")]

    answers = list(client.stream(frames, ["sky", Class("building", ["pagoda"])]))

    assert [answer.frame_id for answer in answers] == ["0", "1", "2", "3", "last"]
    assert answers[-1].timestamp_us == 40_000
    alone = client.segment(JPEG, ["sky", Class("building", ["pagoda"])])
    for answer in (answers[0], answers[1], answers[4]):
        assert [segment.rle for segment in answer.segments] == [segment.rle for segment in alone.segments]
    assert answers[2].segments == answers[3].segments


def test_an_object_is_shown_by_a_prompt_with_a_number(client: Client) -> None:
    with pytest.raises(errors.InvalidValue, match="points"):
        list(client.stream([Frame(JPEG, follow={1: Prompt()})], task="prompt"))
    with pytest.raises(ValueError, match="range"):
        list(client.stream([Frame(JPEG, follow={-1: Point(1, 1)})], task="prompt"))
    with pytest.raises(errors.InvalidValue, match="track_id"):
        list(client.stream([Frame(JPEG, follow={0: Point(1, 1)})], task="prompt"))


def test_a_broken_frame_has_an_error_and_the_stream_goes_on(client: Client) -> None:
    first, broken, cut, last = client.stream([JPEG, b"broken", JPEG[: len(JPEG) // 2], JPEG], ["sky"])

    assert isinstance(broken.error, errors.UnsupportedImage)
    assert isinstance(cut.error, errors.UndecodableImage)
    assert (broken.answer, broken.segments, broken.dropped) == (None, (), False)
    assert first.segments == last.segments != ()


def test_a_frame_that_cannot_be_sent_has_its_error_and_the_stream_goes_on(client: Client, tmp_path: Path) -> None:
    missing = Frame(tmp_path / "missing.jpg", 40_000, "gone")
    frames: list[StreamItem] = [JPEG, missing, "https://example.org/a.jpg", tmp_path, JPEG]

    first, gone, url, folder, last = client.stream(frames, ["sky"])

    assert (gone.frame_id, gone.timestamp_us, gone.answer) == ("gone", 40_000, None)
    assert isinstance(gone.error, FileNotFoundError)
    assert isinstance(url.error, errors.UnusableImage)
    assert "is a folder" in str(folder.error)
    assert first.segments == last.segments != ()


def test_a_missing_frame_is_answered_before_the_next_one_is_asked_for(client: Client, tmp_path: Path) -> None:
    answered = threading.Event()

    def frames() -> Iterator[StreamItem]:
        yield tmp_path / "missing.jpg"
        assert answered.wait(60)
        yield JPEG

    found = []
    for answer in client.stream(frames(), ["sky"]):
        answered.set()
        found.append(bool(answer.segments))
    assert found == [False, True]


def test_the_server_says_its_port_of_grpc(server: Server) -> None:
    with Client(server.url) as client:
        (answer,) = client.stream([JPEG], ["sky"])

    assert answer.segments


def test_the_question_can_change_in_the_middle(client: Client) -> None:
    before, after = client.stream([JPEG, NewQuestion(["tree"], mask="png"), JPEG], ["sky"])

    assert [segment.label for segment in before.segments] == ["sky"]
    assert [segment.label for segment in after.segments] == ["tree"]
    assert after.answer is not None
    assert after.answer.map_file is not None


def test_tracks_keep_their_numbers(client: Client) -> None:
    answers = list(client.stream([JPEG] * 3, ["sky", "tree"], tracking=True, smoothing=0.5, frames_in_flight=2))

    tracks = [{segment.label: segment.track_id for segment in answer.segments} for answer in answers]
    assert tracks[0] == tracks[1] == tracks[2]
    assert None not in tracks[0].values()
    assert answers[0].answer is not None
    tracker_ids = answers[0].answer.to_supervision().tracker_id
    assert tracker_ids is not None
    assert set(tracker_ids) == set(tracks[0].values())


def test_a_wrong_question_ends_the_stream(client: Client) -> None:
    with pytest.raises(errors.InvalidValue, match="smoothing"):
        list(client.stream([JPEG], ["sky"], smoothing=2.0))
    with pytest.raises(TypeError, match="unknown option"):
        client.stream([JPEG], ["sky"], speed=2)  # type: ignore[call-arg]
    with pytest.raises(errors.InvalidValue, match="drop_policy"):
        client.stream([JPEG], ["sky"], drop_policy="oldest")  # type: ignore[arg-type]


def test_what_the_frames_raise_comes_out(client: Client) -> None:
    def frames() -> Iterator[bytes]:
        yield JPEG
        raise RuntimeError("the camera is gone")

    with pytest.raises(RuntimeError, match="the camera is gone"):
        list(client.stream(frames(), ["sky"]))


async def test_frames_may_be_awaited(server: Server, target: str, client: Client) -> None:
    async def frames() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield JPEG

    async with AsyncClient(server.url, grpc_target=target) as awaited:
        answers = [answer async for answer in awaited.stream(frames(), ["sky"])]
        listed = [answer async for answer in awaited.stream([JPEG] * 3, ["sky"])]
    async with AsyncClient(server.url) as awaited:
        gone = [answer.error async for answer in awaited.stream([Path("none-such.jpg"), JPEG], ["sky"])]

    assert [type(error) for error in gone] == [FileNotFoundError, type(None)]
    alone = list(client.stream([JPEG] * 3, ["sky"]))
    for found in (answers, listed):
        assert [answer.segments for answer in found] == [answer.segments for answer in alone]
