"""`lexiseg video`, with the bundled model here and with colours behind a real gateway."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.features import TileFeatures
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Rle
from lexiseg_service.question.streams import FrameAnswer, StreamQuestion, VideoFrame
from tests.command import ended
from tests.model.stand_in import ColourSegmenter, picture
from tests.model.video import moving
from tests.service.commands.command_line import CommandLine, taught
from tests.service.commands.video import clips
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON, until

ROOT = Path(__file__).resolve().parents[4]


@contextmanager
def served(segmenter: Segmenter | None = None) -> Iterator[str]:
    """HOST:PORT of a gateway over an engine, of colours by default."""
    backend = EngineBackend(segmenter)
    with on_ports(backend) as ports:
        yield ports.grpc
    backend.engine.close(5)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_clip_is_asked_about_what_was_taught(lexiseg: CommandLine, tmp_path: Path) -> None:
    here = taught(lexiseg, tmp_path)
    clip, lines = clips.panning(tmp_path / "clip.mp4", 3), tmp_path / "out.jsonl"

    outcome = lexiseg("video", clip, "--head", "gadgets", "-c", "sky", "--json", lines, *here)

    assert outcome.status == 0, outcome.err
    indices = [{segment["label"]: segment["class_index"] for segment in line["segments"]} for line in lines_of(lines)]
    assert [of_frame["sky"] for of_frame in indices] == [1] * 3  # after the class of the head


def test_a_clip_comes_out_painted_with_a_line_for_each_frame(lexiseg: CommandLine, tmp_path: Path) -> None:
    clip, out, lines = clips.panning(tmp_path / "clip.mp4", 5), tmp_path / "out.mp4", tmp_path / "out.jsonl"

    outcome = lexiseg("video", clip, "-c", "building", "-c", "sky", "-c", "tree", "--out", out, "--json", lines)

    assert outcome.status == 0, outcome.err
    assert "5 frames" in outcome.err
    before, after = clips.read(clip), clips.read(out)
    assert [frame.shape for frame in after] == [(240, 320, 3)] * 5
    assert np.abs(before[2].astype(int) - after[2]).mean() > 10
    found = lines_of(lines)
    assert [line["frame"] for line in found] == list(range(5))
    assert [line["seconds"] for line in found] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert found[0]["size"] == [240, 320]
    largest = [max(line["segments"], key=lambda segment: segment["area"]) for line in found]
    assert len({(segment["label"], segment["track_id"]) for segment in largest}) == 1
    mask = decode(Rle((240, 320), largest[0]["mask"]["counts"], 0, (0, 0, 0, 0)))
    assert mask.sum() == largest[0]["area"]


def test_a_server_does_the_same_without_torch_here(tmp_path: Path) -> None:
    clip, out, lines = clips.halves(tmp_path / "clip.mp4"), tmp_path / "out.mp4", tmp_path / "out.jsonl"
    program = (
        "import sys; from lexiseg_service.cli import app; app(standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    command = ["video", str(clip), "-c", "red", "-c", "blue", "--out", str(out), "--json", str(lines)]

    with served() as address:
        ran = ended([sys.executable, "-c", program, *command, "--server", address], cwd=ROOT, timeout=SOON)

    assert ran.returncode == 0, ran.stderr
    found = lines_of(lines)
    assert [[segment["label"] for segment in line["segments"]] for line in found] == [["red", "blue"]] * 6
    assert {tuple(segment["track_id"] for segment in line["segments"]) for line in found} == {(1, 2)}
    assert len(clips.read(out)) == 6


def test_tracks_for_a_tool_are_read_back_with_the_clip(lexiseg: CommandLine, tmp_path: Path) -> None:
    clip, widths = tmp_path / "set" / "clip.mp4", (16, 32, 48)
    clip.parent.mkdir()
    clips.written(clip, [np.asarray(picture(["r" * width + "b" * (64 - width)] * 48)) for width in widths])
    read = partial(lexiseg, "data", "import", clip.parent, "--least", "1")

    with served() as address:
        ask = partial(lexiseg, "video", clip, "-c", "red", "--server", address, "--out")
        written = [ask(clip.with_name("tracks.xml"))]
        imported = read(tmp_path / "read")
        clip.with_name("tracks.xml").unlink()
        written.append(ask(clip.with_name("tracks.json")))
    of_boxes = read(tmp_path / "unread")

    assert [each.status for each in (*written, imported)] == [0, 0, 0], imported.err
    report = json.loads((tmp_path / "read" / "report.json").read_text())
    assert (report["layout"], report["photographs"], report["left_out"]) == ("CVAT", {"train": 3}, 0)
    assert (report["classes"][0]["pixels"], report["unknown_pixels"]) == (48 * sum(widths), 0)
    assert of_boxes.status == 1
    assert "3 of 3 annotations in tracks.json are boxes without an outline" in of_boxes.err


@pytest.mark.parametrize("by_server", [False, True])
def test_what_a_box_and_a_point_show_is_followed(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_server: bool
) -> None:
    path = [(4 + 2 * step, 4) for step in range(6)]
    larger = np.ones((8, 8, 1), np.uint8)  # whole blocks of JPEG, which keep their colour
    clip, out, lines = tmp_path / "clip.mkv", tmp_path / "out.mp4", tmp_path / "out.jsonl"
    clips.written(clip, [np.kron(moving.scene(red=corner), larger) for corner in path], codec="ffv1", pixels="bgr0")
    able = ColourSegmenter(tasks=("semantic", "prompt"))
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: able)
    command = ("video", clip, "--box", "32,32,128,128", "--point", "320,240", "--json", lines, "--out", out)

    with served(able) as address:
        outcome = lexiseg(*command, *(["--server", address] if by_server else []))

    assert outcome.status == 0, outcome.err
    found = lines_of(lines)
    assert len(found) == len(clips.read(out)) == len(path)
    assert all({1, 2} == {*line["lost"], *(each["track_id"] for each in line["segments"])} for line in found)
    for corner, line in zip(path, found, strict=True):
        followed = next(segment for segment in line["segments"] if segment["track_id"] == 2)
        mask = decode(Rle((320, 512), followed["mask"]["counts"], 0, (0, 0, 0, 0)))[::8, ::8]
        assert moving.iou(np.asarray(mask, np.bool_), moving.square(corner)) > 0.5


def test_a_box_outside_the_first_frame_ends_it_there(lexiseg: CommandLine, tmp_path: Path) -> None:
    clip, lines = clips.halves(tmp_path / "clip.mp4", 20), tmp_path / "out.jsonl"

    with served(ColourSegmenter(tasks=("prompt",))) as address:
        outcome = lexiseg("video", clip, "--box", "900,2,930,40", "--json", lines, "--server", address)

    assert outcome.status == 1
    assert "1 frame, " in outcome.err
    assert "frame 0: follow.0.prompt.box: expected pixels inside the image" in outcome.err
    assert len(lines_of(lines)) == 1


def test_a_task_that_the_server_cannot_do_is_told(lexiseg: CommandLine, tmp_path: Path) -> None:
    clip, lines = clips.halves(tmp_path / "clip.mp4", 2), tmp_path / "out.jsonl"

    with served() as address:
        outcome = lexiseg("video", clip, "-c", "red", "--task", "panoptic", "--json", lines, "--server", address)

    assert outcome.status == 1
    assert "can do panoptic; there is: semantic" in outcome.err
    assert not lines.exists()


def test_frames_that_come_too_fast_may_be_left_out(lexiseg: CommandLine, tmp_path: Path) -> None:
    clip, out, lines = clips.halves(tmp_path / "clip.mp4", 60), tmp_path / "out.mp4", tmp_path / "out.jsonl"

    with served() as address:
        outcome = lexiseg(
            "video", clip, "-c", "red", "--drop", "latest", "--out", out, "--json", lines, "--server", address
        )

    assert outcome.status == 0, outcome.err
    found = lines_of(lines)
    assert [line["frame"] for line in found] == list(range(60))
    answered = [line for line in found if not line["dropped"]]
    assert len(answered) > 0
    assert all(line["segments"] is None for line in found if line["dropped"])
    assert len(clips.read(out)) == len(answered)


class MovedAtFrameTwo(EngineBackend):
    """Says that another worker took over there."""

    async def stream(self, steps: AsyncIterator[StreamQuestion | VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        async for answer in super().stream(steps):
            yield replace(answer, state_reset=answer.frame_id == "2")


def test_objects_that_go_with_their_worker_are_told_as_lost(lexiseg: CommandLine, tmp_path: Path) -> None:
    clip, backend = clips.halves(tmp_path / "clip.mp4", 4), MovedAtFrameTwo(ColourSegmenter(tasks=("prompt",)))

    with on_ports(backend) as ports:
        outcome = lexiseg("video", clip, "--box", "2,2,30,40", "--json", tmp_path / "out.jsonl", "--server", ports.grpc)
    backend.engine.close(5)

    assert outcome.status == 1
    assert "frame 2: another worker took over, which knows none of the objects" in outcome.err
    assert len(lines_of(tmp_path / "out.jsonl")) == 4


class HeldAfterSomeFrames(ColourSegmenter):
    """Answers some frames, and the next ones once it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 100  # more than a buffer of lines
        self.go_on = threading.Event()

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        self.left -= len(tiles)
        assert self.left > 0 or self.go_on.wait(SOON)
        return super().encode_tiles(tiles)


def test_an_interrupt_keeps_what_is_there(tmp_path: Path) -> None:
    clip, out, lines = clips.halves(tmp_path / "clip.mp4", 300), tmp_path / "out.mp4", tmp_path / "out.jsonl"
    command = [
        sys.executable, "-m", "lexiseg_service.cli", "video", str(clip), "-c", "red", "--out", str(out),
        "--json", str(lines),
    ]  # fmt: skip
    segmenter = HeldAfterSomeFrames()

    with served(segmenter) as address:
        process = subprocess.Popen(
            [*command, "--server", address], cwd=ROOT, stderr=subprocess.PIPE, text=True, env=os.environ
        )
        guard = threading.Timer(SOON, process.kill)
        guard.start()
        until(lambda: process.poll() is not None or (lines.exists() and lines.stat().st_size))
        process.send_signal(signal.SIGINT)
        segmenter.go_on.set()
        _, errors = process.communicate()
        guard.cancel()

    assert process.returncode == 0, errors
    n_frames = len(lines_of(lines))
    assert 0 < n_frames < 300
    assert len(clips.read(out)) == n_frames


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_file_that_is_there_is_replaced_only_when_that_is_asked_for(
    lexiseg: CommandLine, tmp_path: Path, option: str
) -> None:
    clip, there = clips.halves(tmp_path / "clip.mp4", 2), tmp_path / "there.mkv"
    there.write_text("mine")

    refused = lexiseg("video", clip, "-c", "red", option, there)
    kept = there.read_text()
    replaced = lexiseg("video", clip, "-c", "red", option, there, "--overwrite")

    assert (refused.status, kept) == (2, "mine")
    assert "--overwrite" in refused.err
    assert replaced.status == 0, replaced.err
    assert there.read_bytes() != b"mine"
