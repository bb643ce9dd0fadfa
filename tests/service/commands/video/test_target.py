import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lexiseg_client import FrameAnswer
from lexiseg_service.commands.video.run import ENCODERS, VideoTarget, json_lines
from tests.service.commands.video import clips

GRAY = np.full((48, 64, 3), 128, np.uint8)


@pytest.mark.parametrize("ending", sorted(ENCODERS))
def test_what_is_written_can_be_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    with VideoTarget(path, Fraction(10)) as target:
        for index in range(5):
            target.write(GRAY, index / 10)

    frames = clips.read(path)

    assert len(frames) == 5
    assert frames[0].shape == GRAY.shape
    assert np.abs(frames[0].astype(int) - 128).max() <= 6


def test_an_odd_side_loses_a_pixel_and_frames_of_another_size_are_fitted(tmp_path: Path) -> None:
    with VideoTarget(tmp_path / "out.mp4", Fraction(10)) as target:
        target.write(np.zeros((49, 65, 3), np.uint8), 0.0)
        target.write(GRAY[:20, :20], 0.1)

    assert [frame.shape for frame in clips.read(tmp_path / "out.mp4")] == [(48, 64, 3)] * 2


def test_frames_keep_their_times(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.35, 0.4, 0.4, 1.0]  # one comes late, two at once
    with VideoTarget(tmp_path / "out.mp4", Fraction(30000, 1001)) as target:
        for seconds in times:
            target.write(GRAY, seconds)

    with av.open(str(tmp_path / "out.mp4")) as container:
        found = [frame.time for frame in container.decode(video=0)]
    assert found == pytest.approx(times, abs=0.001)


def test_a_line_tells_what_is_lost(tmp_path: Path) -> None:
    with json_lines(tmp_path / "lines.jsonl") as write_line:
        write_line(FrameAnswer("0", 0, None, dropped=True, lost=(3, 7)), 0.0)

    assert json.loads((tmp_path / "lines.jsonl").read_bytes())["lost"] == [3, 7]
