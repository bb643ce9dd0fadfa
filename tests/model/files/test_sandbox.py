"""The sandbox: a command sees few variables, its own folders and nothing else, and ends at its bounds."""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import pytest

from lexiseg_model.files import sandbox
from lexiseg_model.files.sandbox import CREATE_RULESET, Limits, Sandbox
from tests.waiting import until

LIMITS = Limits(seconds=60, cpu_seconds=60, memory_bytes=2**30, file_bytes=2**20)
LANDLOCK = ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
REFUSED, NOBODY = "refused", 65534
needs_landlock = pytest.mark.skipif(LANDLOCK < 1, reason="this kernel has no Landlock")


@pytest.fixture
def room(tmp_path: Path) -> Sandbox:
    """A folder whose `out` may be written, beside a secret."""
    folder = tmp_path / "room"
    (folder / "out").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    return Sandbox(folder, [folder], [folder / "out"], LIMITS, {"HOME": str(folder / "out")})


def ended(room: Sandbox, code: str) -> tuple[int, str]:
    """Status and output of a Python program in it."""
    output = room.folder / "output.txt"
    with output.open("wb") as file:
        process = room.start([sys.executable, "-c", code], file)
        process.wait(60)
    return process.returncode, output.read_text()


def test_a_command_sees_named_variables_alone_from_its_first_moment(
    room: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXISEG_REDIS_URL", "redis://:password@localhost/0")

    output = room.folder / "output.txt"
    with output.open("wb") as file:
        code = "import os, signal; print(*os.environ, flush=True); signal.pause()"
        process = room.start([sys.executable, "-c", code], file)
    until(output.read_text)
    first = Path(f"/proc/{process.pid}/environ").read_text()  # empty once it has ended
    sandbox.end_process(process, 0.0)

    for seen in (output.read_text(), first):
        assert "HOME" in seen
        assert "LEXISEG" not in seen
        assert "password" not in seen


def is_refused(output: str) -> bool:
    """Whether an error says that a path may not be reached, or is not there."""
    return any(error in output for error in ("PermissionError", "FileNotFoundError", "Invalid cross-device link"))


@needs_landlock
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../secret.txt",
        "/proc/{parent}/environ",
        "/proc/{parent}/cmdline",
        "/proc/1/environ",
        "/root",
        "/",
    ],
)
def test_no_other_path_can_be_read(room: Sandbox, path: str) -> None:
    path = path.format(parent=os.getpid())

    _, output = ended(room, f"import os; (os.listdir if os.path.isdir({path!r}) else open)({path!r})")

    assert is_refused(output)


@needs_landlock
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("open('other', 'w')", REFUSED),
        ("os.symlink('/etc', 'out/etc')", REFUSED),
        ("os.rename('out', '../out')", REFUSED),
        ("open('out/file', 'w').write('x'); os.link('out/file', '../file')", REFUSED),
        ("os.truncate('output.txt', 0)", REFUSED),
        ("pathlib.Path('out/file').write_bytes(bytes(2 ** 20 + 1))", "File too large"),
        ("bytearray(2 ** 30 + 1)", "MemoryError"),
        ("[open('/dev/null') for _ in range(600)]", "Too many open files"),
        ("open('out/file', 'w').write('x'); print('written', open('out/file').read())", "written x"),
    ],
)
def test_what_it_may_write_and_take_is_bounded(room: Sandbox, code: str, error: str) -> None:
    _, output = ended(room, f"import os, pathlib; {code}")

    assert is_refused(output) if error == REFUSED else error in output


@pytest.fixture(params=["own user", "nobody"])
def open_room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A room of this user, or of one without rights, where the kernel grants him namespaces."""
    if request.param == "nobody":
        python = shutil.which("python3", path=os.defpath)
        if os.getuid() or python is None:
            pytest.skip("only root can try another user, with an interpreter that this one may run")
        monkeypatch.setattr(sys, "executable", python)
        nobody = partial(subprocess.Popen, user=NOBODY, group=NOBODY, extra_groups=[])
        monkeypatch.setattr(sandbox.subprocess, "Popen", nobody)  # type: ignore[attr-defined]
    with TemporaryDirectory(dir="/var/tmp") as place:  # some machines keep /tmp to root
        folder = Path(place)
        (folder / "out").mkdir()
        for each in (folder, folder / "out"):
            each.chmod(0o777)
        needs = f"open({sandbox.__file__!r}); os.stat({place + '/out'!r})"
        trial = f"import ctypes, os; {needs}; exit(ctypes.CDLL(None).unshare({sandbox.NEW_USER}))"
        if sandbox.subprocess.Popen([sys.executable, "-c", trial]).wait():  # type: ignore[attr-defined]
            pytest.skip(f"{request.param} may not read the files, or gets no namespaces from the kernel")
        yield Sandbox(folder, [folder], [folder / "out"], replace(LIMITS, memory_bytes=2**28, file_bytes=2**30), {})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))", "Network is unreachable"),
        ("socket.socket(socket.AF_UNIX).connect(sys.argv[1])", "No such file"),
        ("print(os.listdir('/dev/shm'))", "[]"),
        ("os.posix_fallocate(os.open('/dev/shm/a', os.O_RDWR | os.O_CREAT), 0, 2 ** 28 + 1)", "No space left"),
        ("open('out/file', 'w').write('x'); print(os.listdir('out'), open('/dev/null').read())", "['file']"),
    ],
)
def test_it_reaches_no_socket_and_no_memory_of_the_machine(code: str, error: str, open_room: Sandbox) -> None:
    with TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{place}/socket")
        server.listen()
        for each in (place, f"{place}/socket"):
            os.chmod(each, 0o777)
        with NamedTemporaryFile(dir="/dev/shm"):
            _, output = ended(open_room, f"import os, socket, sys; sys.argv = ['', '{place}/socket']; {code}")

    assert error in output


@needs_landlock  # which lets nobody mount
def test_a_command_runs_where_the_kernel_refuses_mounts(room: Sandbox) -> None:
    readable = [str(room.folder), *sandbox._interpreter(), *sandbox.SYSTEM, *sandbox.PROC]
    bounds = json.dumps({"limits": asdict(LIMITS), "readable": readable, "writable": []})
    inner = [sys.executable, "-I", "-S", sandbox.__file__, bounds, sys.executable, "-c", "print(open('inner').read())"]
    (room.folder / "inner").write_text("it runs")

    _, output = ended(room, f"import subprocess; subprocess.run({inner})")

    assert output == "it runs\n"


@pytest.mark.skipif(LANDLOCK < 4 and os.getuid() != 0, reason="this kernel keeps nobody but root from the network")
def test_it_reaches_no_port_of_the_machine(room: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, output = ended(room, f"import socket; socket.create_connection(('127.0.0.1', {port}))")

    assert status == 1
    assert "Error" in output


@pytest.mark.skipif(LANDLOCK < 6, reason="this kernel lets processes of one user send each other signals")
def test_it_cannot_end_its_parent(room: Sandbox) -> None:
    _, output = ended(room, f"import os; os.kill({os.getpid()}, 0)")

    assert "PermissionError" in output


def test_a_command_that_spins_is_ended_by_its_seconds_of_a_processor(room: Sandbox) -> None:
    status, _ = ended(replace(room, limits=replace(LIMITS, cpu_seconds=1)), "while True: pass")

    assert status in (-signal.SIGXCPU, -signal.SIGKILL)


def test_the_children_of_a_command_end_with_it(room: Sandbox) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'while True: pass']); print('begun')"
    output = room.folder / "output.txt"
    with output.open("wb") as file:
        process = room.start([sys.executable, "-c", f"{code}\nwhile True: pass"], file)
    until(lambda: b"begun" in output.read_bytes())

    sandbox.end_process(process, 0.0)

    until(lambda: not _is_alive(process.pid))


def _is_alive(group: int) -> bool:
    """Whether a process of a group runs; one that nobody waits for counts as ended."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            return True
    return False
