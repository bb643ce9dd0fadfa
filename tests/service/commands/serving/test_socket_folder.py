import os
import shutil
import tempfile
from pathlib import Path

import pytest

from lexiseg_service.commands.serving.serve import PREFIX, SocketFolder
from lexiseg_service.errors import NotReady


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


def test_it_is_of_this_user_alone() -> None:
    assert SocketFolder().path.stat().st_mode & 0o777 == 0o700


def test_the_folder_of_a_killed_service_is_removed_and_that_of_a_running_one_stays(tmp_path: Path) -> None:
    running = SocketFolder()
    stale = tmp_path / f"{PREFIX}stale"
    stale.mkdir()
    (stale / "worker-0").touch()
    (tmp_path / f"{PREFIX}file").touch()

    fresh = SocketFolder()

    assert not stale.exists()
    assert running.path.is_dir()
    assert fresh.path.is_dir()


def test_a_removed_folder_is_there_again_and_its_processes_are_told_one_after_the_other() -> None:
    folder = SocketFolder()
    first, second = sockets_in(folder, "worker-0", "worker-1")
    shutil.rmtree(folder.path)

    assert [folder.is_lost(first), folder.is_lost(second), folder.is_lost(first)] == [True, False, False]
    assert folder.path.stat().st_mode & 0o777 == 0o700
    first.touch()
    assert [folder.is_lost(first), folder.is_lost(second)] == [False, True]


def test_a_folder_that_is_there_again_is_locked() -> None:
    folder = SocketFolder()
    (socket,) = sockets_in(folder, "worker-0")
    shutil.rmtree(folder.path)
    folder.is_lost(socket)

    SocketFolder()

    assert folder.path.is_dir()


def test_a_socket_that_is_not_there_yet_is_not_lost() -> None:
    folder = SocketFolder()

    assert not folder.is_lost(folder.path / "worker-0")


def test_another_users_folder_of_its_name_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SocketFolder()
    (socket,) = sockets_in(folder, "worker-0")
    socket.unlink()
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)

    with pytest.raises(NotReady, match="belongs to another user"):
        folder.is_lost(socket)
