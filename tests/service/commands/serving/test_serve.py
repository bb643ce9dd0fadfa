"""`lexiseg serve`: its sockets, the restarts of its processes, and how many workers fit."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lexiseg_model.errors import ModelError
from lexiseg_service.commands.serving.serve import (
    LONG_LIFE,
    PREFIX,
    Child,
    Room,
    SocketFolder,
    Supervisor,
    count,
    fitting,
)
from lexiseg_service.errors import NotReady
from lexiseg_service.settings import Settings


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def sockets_in(folder: SocketFolder, *names: str) -> list[Path]:
    """Files in the place of sockets, seen once."""
    sockets = [folder.path / name for name in names]
    for socket in sockets:
        socket.touch()
        assert not folder.is_lost(socket)
    return sockets


def test_the_folder_of_a_killed_service_is_removed_and_that_of_a_running_one_stays(tmp_path: Path) -> None:
    running = SocketFolder()
    stale = tmp_path / f"{PREFIX}stale"
    stale.mkdir()
    (stale / "worker-0").touch()
    (tmp_path / f"{PREFIX}file").touch()

    fresh = SocketFolder()

    assert not stale.exists()
    assert [folder.path.stat().st_mode & 0o777 for folder in (running, fresh)] == [0o700, 0o700]


def test_a_removed_folder_is_there_again_and_its_processes_are_told_one_after_the_other() -> None:
    folder = SocketFolder()
    assert not folder.is_lost(folder.path / "worker-0")  # it is not there yet
    first, second = sockets_in(folder, "worker-0", "worker-1")
    shutil.rmtree(folder.path)

    assert [folder.is_lost(first), folder.is_lost(second), folder.is_lost(first)] == [True, False, False]
    SocketFolder()  # which removes every folder that is not locked
    assert folder.path.stat().st_mode & 0o777 == 0o700
    first.touch()
    assert [folder.is_lost(first), folder.is_lost(second)] == [False, True]


def test_another_users_folder_of_its_name_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SocketFolder()
    (socket,) = sockets_in(folder, "worker-0")
    socket.unlink()
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)

    with pytest.raises(NotReady, match="belongs to another user"):
        folder.is_lost(socket)


def test_a_child_is_restarted_with_delays_that_grow_until_it_has_lived_long() -> None:
    child = Child("worker-0", lambda: 1, started=1e9)

    assert [child.schedule() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    child.started = -LONG_LIFE
    assert child.schedule() == 0.5


@pytest.mark.parametrize(("lived", "ends"), [(1, True), (3 * 86_400, False)])
def test_a_first_life_that_soon_ends_with_an_error_ends_the_service(lived: float, ends: bool) -> None:
    worker = Child("worker-0", lambda: 1, lives=1, started=time.monotonic() - lived)
    both = Supervisor([worker], Child("gateway", lambda: 0))

    both._ended(worker, 1)

    assert (both._stopping, both._status, worker.due > 0) == (ends, int(ends), not ends)


GB = 10**9


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (Room(2, 8 * GB, None, GB // 8), 1),
        (Room(16, 64 * GB, None, GB // 8), 4),
        (Room(16, 3 * GB, None, GB // 8), 2),  # memory is short
        (Room(16, 64 * GB, 80 * GB, 2 * GB), 4),
        (Room(16, 64 * GB, 8 * GB, 2 * GB), 2),  # the GPU's is
        (Room(256, 512 * GB, 80 * GB, GB // 8), 8),
        (Room(16, 6 * GB, 80 * GB, 4 * GB), 4),  # weights on a GPU take none of the machine's memory
        (Room(16, None, None, GB), 4),  # unknown, as on a Mac
        (Room(16, GB // 4, None, GB), 1),
    ],
)
def test_cores_and_memory_say_how_many_workers_fit(room: Room, expected: int) -> None:
    assert fitting(room) == expected


def test_auto_looks_at_this_machine_without_torch_in_this_process() -> None:
    imported = set(sys.modules)

    assert 1 <= count(Settings(workers=("auto",), device="cpu")) <= 8
    assert "torch" not in set(sys.modules) - imported


@pytest.mark.parametrize(("model", "device"), [("no-such-model", "cpu"), ("tiny", "cuda:99")])
def test_auto_says_what_is_wrong_with_models_and_device(model: str, device: str) -> None:
    with pytest.raises(ModelError, match=r"no-such-model|cuda:99"):
        count(Settings(workers=("auto",), model=model, device=device))
