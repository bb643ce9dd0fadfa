"""Images that crash a worker: recorded by the supervisor, refused by every worker of the machine."""

import signal
from pathlib import Path

import pytest

from lexiseg_service.errors import UndecodableImage
from lexiseg_service.worker.crash_record import WINDOW_SECONDS, CrashRecord, record_crash


def crash(folder: Path, worker: str, now: float, status: int = -signal.SIGSEGV) -> None:
    """A worker ends while it decodes `bad`, after it has decoded `good`."""
    record = CrashRecord(folder / worker)
    with record.decoding("good"):
        pass
    with record.decoding("bad"):
        record_crash(folder / worker, status, now)


def decode(folder: Path, image_id: str) -> None:
    with CrashRecord(folder / "another worker").decoding(image_id):
        pass


def test_an_image_that_crashed_two_workers_within_a_minute_is_refused_alone(tmp_path: Path) -> None:
    crash(tmp_path, "worker-0", 10.0)
    decode(tmp_path, "bad")
    crash(tmp_path, "worker-1", 10.0 + WINDOW_SECONDS)

    decode(tmp_path, "good")
    with pytest.raises(UndecodableImage, match="crashed its decoder twice"):
        decode(tmp_path, "bad")


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        pytest.param(WINDOW_SECONDS + 1, -signal.SIGSEGV, id="more than a minute apart"),
        pytest.param(1.0, -signal.SIGKILL, id="a worker that was killed"),
        pytest.param(1.0, 1, id="a worker that ended with an error"),
    ],
)
def test_other_ends_of_workers_refuse_nothing(tmp_path: Path, seconds: float, status: int) -> None:
    crash(tmp_path, "worker-0", 10.0)
    crash(tmp_path, "worker-0", 10.0 + seconds, status)

    decode(tmp_path, "bad")
