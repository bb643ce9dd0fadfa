"""Run a command on what strangers sent: few variables, bounded memory, time and files, only named folders, no network.

    start -> a bare interpreter bounds itself (rlimits, no new privileges, namespaces, Landlock) -> exec of the command

Linux hides all but the named paths by a root folder of the command's own, without network or the machine's /dev/shm,
where it grants namespaces: to root, and by user namespaces to others. Of what is left Landlock (5.13 on; TCP from 6.7
on, signals from 6.12 on) refuses the rest, as an `environ` below /proc. Where a kernel has neither, and on other
systems, containers are the confinement.
The file is a script, too, with nothing but the standard library: bounds are set after the fork, in a process of one
thread, so that nothing of a threaded parent runs between fork and exec.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from glob import glob
from pathlib import Path
from typing import IO

# Variables that pass, where they are set: languages, where libraries are, threads, devices.
VARIABLES = (
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH"),
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
)
# Of the machine: libraries, the clock's zone, processors, devices.
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/sys")
OWN = ("cgroup", "limits", "maps", "mountinfo", "stat", "status")  # what libraries ask about their process
PROC = tuple(
    f"/proc/{name}"
    for name in ("cpuinfo", "meminfo", "stat", "filesystems", "sys", "driver", *(f"self/{name}" for name in OWN))
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/shm", "/dev/nvidia*", "/dev/kfd", "/dev/dri")
END_SECONDS = 10.0  # between SIGTERM and SIGKILL, where nobody says otherwise

# linux/landlock.h
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
WRITE = READ | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8  # write, remove, make folders and files
OF_FILES = 1 << 0 | 1 << 1 | 1 << 2  # rights that a rule about a file may have
EVERY = (1 << 13) - 1  # rights of files, version 1
REFER, TRUNCATE = (2, 1 << 13), (3, 1 << 14)  # version from which there is such a right, and it
TCP, SCOPES = (4, 0b11), (6, 0b11)  # bind and connect; abstract sockets and signals
NO_NEW_PRIVILEGES = 38  # prctl
NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x40000000  # unshare
NOSUID, NODEV, BIND, RECURSIVE, PRIVATE = 2, 4, 1 << 12, 1 << 14, 1 << 18  # mount
DETACH = 2  # umount2
NEW_ROOT = "/tmp"  # any folder: it becomes the root of this process only
SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Limits:
    """Bounds of each process of a command, and of the whole."""

    seconds: float  # until the command is ended
    cpu_seconds: int
    memory_bytes: int  # heap and private mappings
    file_bytes: int  # of the largest file
    open_files: int = 512
    processes: int = 256  # more than its user has at the start; not for root


@dataclass(frozen=True)
class Sandbox:
    """Where a command runs, and what it reaches."""

    folder: Path  # working directory
    readable: Sequence[Path]  # files and folders, in addition to Python's and the system's libraries
    writable: Sequence[Path]  # readable as well
    limits: Limits
    environment: Mapping[str, str]  # in addition to `VARIABLES`

    def start(self, command: Sequence[str], output: IO[bytes], pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        """Start a command as the leader of a session of its own, so that `end` reaches its children, too."""
        bounds = {
            "limits": asdict(self.limits),
            "readable": [*map(str, self.readable), *_interpreter(), *SYSTEM, *PROC],
            "writable": [*map(str, self.writable), *DEVICES],
        }
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, json.dumps(bounds), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self.folder,
            env=variables
            | {"PATH": os.defpath, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
            | dict(self.environment),
            pass_fds=pass_fds,
            start_new_session=True,
        )


def end_process(process: subprocess.Popen[bytes], seconds: float = END_SECONDS) -> None:
    """End a command with its children: SIGTERM, and SIGKILL to what is left after some seconds."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interpreter() -> Iterator[str]:
    """What imports need: the interpreter, its libraries, and the folders of installed and editable packages."""
    yield from {sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    here = os.getcwd()
    yield from (path for path in sys.path if path and os.path.isabs(path) and path != here)
    from importlib.metadata import distributions  # the script does without: it has no packages
    from importlib.util import find_spec

    for package in distributions():
        if '"editable": true' in (package.read_text("direct_url.json") or ""):
            modules = {point.module.partition(".")[0] for point in package.entry_points}
            for name in modules.union((package.read_text("top_level.txt") or "").split()):
                spec = find_spec(name)
                yield from (spec and spec.submodule_search_locations) or ()


def main(bounds: str, *command: str) -> None:
    """Bound this process, and become the command."""
    values = json.loads(bounds)
    limits = Limits(**values["limits"])
    _set_limits(limits)
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        readable, writable = _present(values["readable"]), _present(values["writable"])
        _isolate(libc, [*readable, *writable], limits.memory_bytes)
        _confine(libc, readable, writable)
    os.execvp(command[0], command)


def _present(patterns: Iterable[str]) -> list[str]:
    return [path for pattern in patterns for path in ([pattern] if os.path.exists(pattern) else glob(pattern))]


def _set_limits(limits: Limits) -> None:
    bounds = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_DATA: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: _tasks() + limits.processes,
        resource.RLIMIT_CORE: 0,  # a core holds the memory
    }
    for kind, most in bounds.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _tasks() -> int:
    """Processes and threads of this user."""
    count = 0
    for entry in glob("/proc/[0-9]*/task"):
        with suppress(OSError):
            if os.stat(entry).st_uid == os.getuid():
                count += len(os.listdir(entry))
    return count


def _isolate(libc: ctypes.CDLL, paths: Iterable[str], shared_bytes: int) -> None:
    """Leave the machine's network, System V memory and folders, as far as the kernel grants it."""
    user, group, here = os.getuid(), os.getgid(), os.getcwd()
    spaces = NEW_NETWORK | NEW_MOUNTS | NEW_IPC
    with suppress(OSError):  # a security module may grant namespaces and refuse what is done in them
        if libc.unshare(spaces):
            if libc.unshare(NEW_USER | spaces):
                return
            maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
            for name, ids in maps.items():
                Path("/proc/self", name).write_text(ids)
        _replace_root(libc, paths, shared_bytes)
    os.chdir(here)


def _replace_root(libc: ctypes.CDLL, paths: Iterable[str], shared_bytes: int) -> None:
    """Make a folder of the named paths, and shared memory of so many bytes, the root. Raises OSError: it is not."""

    def call(name: str, *arguments: str | int | None) -> None:
        values = [value.encode() if isinstance(value, str) else value for value in arguments]
        if getattr(libc, name)(*values):
            raise OSError(ctypes.get_errno(), name)

    links: dict[str, str] = {}
    named = {"/proc" if path.startswith("/proc/") else path for path in paths} - {SHARED_MEMORY}
    places = {_resolved(path, links) for path in named}
    sources = {place: os.open(place, os.O_PATH | os.O_CLOEXEC) for place in _outermost(places)}
    call("mount", None, "/", None, RECURSIVE | PRIVATE, None)  # nothing of what follows reaches the machine
    call("mount", "tmpfs", NEW_ROOT, "tmpfs", NOSUID | NODEV, "mode=755,size=1m")
    try:
        for path, source in sources.items():
            place = _empty(path, is_folder=os.path.isdir(f"/proc/self/fd/{source}"))
            call("mount", f"/proc/self/fd/{source}", place, None, BIND | RECURSIVE, None)
        for path, target in links.items():
            if not os.path.lexists(NEW_ROOT + path):  # it does in a folder that is there as a whole
                os.makedirs(os.path.dirname(NEW_ROOT + path), exist_ok=True)
                os.symlink(target, NEW_ROOT + path)
        options = f"mode=1777,size={shared_bytes}"
        call("mount", "tmpfs", _empty(SHARED_MEMORY, is_folder=True), "tmpfs", NOSUID | NODEV, options)
        os.chdir(NEW_ROOT)
        call("pivot_root", ".", ".")
    except OSError:
        libc.umount2(NEW_ROOT.encode(), DETACH)
        raise
    call("umount2", ".", DETACH)


def _empty(path: str, *, is_folder: bool) -> str:
    """Make a folder or file to mount upon, below the new root."""
    place = Path(NEW_ROOT + path)
    (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
    if not is_folder:
        place.touch()
    return str(place)


def _resolved(path: str, links: dict[str, str]) -> str:
    """The place that a path leads to; the links on the way are added with their targets."""
    place, rest = "", path.split("/")[1:]
    while rest:
        step = f"{place}/{rest.pop(0)}"
        if os.path.islink(step):
            links[step] = os.readlink(step)
            place, rest = "", os.path.normpath(os.path.join(place or "/", links[step])).split("/")[1:] + rest
        else:
            place = step
    return place


def _outermost(paths: Iterable[str]) -> list[str]:
    """The paths that lie in no other of them, in order."""
    outer: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not outer or not f"{path}/".startswith(f"{outer[-1]}/"):
            outer.append(path)
    return outer


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _confine(libc: ctypes.CDLL, readable: Sequence[str], writable: Sequence[str]) -> None:
    """Have the kernel refuse this process every path that is not named, for ever."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return
    newer = sum(right for since, right in (REFER, TRUNCATE) if version >= since)
    network, scopes = (right if version >= since else 0 for since, right in (TCP, SCOPES))
    rules = _Ruleset(EVERY | newer, network, scopes)
    size = 24 if version >= SCOPES[0] else 16 if version >= TCP[0] else 8
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "Landlock")
    for paths, rights in ((readable, READ), (writable, WRITE | newer)):
        for path in paths:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = rights if os.path.isdir(path) else rights & (OF_FILES | TRUNCATE[1] * (version >= TRUNCATE[0]))
            rule = _Beneath(allowed, parent)
            if libc.syscall(ADD_RULE, ruleset, 1, ctypes.byref(rule), ctypes.c_uint32(0)):
                raise OSError(ctypes.get_errno(), "Landlock", path)
            os.close(parent)
    if libc.syscall(RESTRICT_SELF, ruleset, ctypes.c_uint32(0)):
        raise OSError(ctypes.get_errno(), "Landlock")
    os.close(ruleset)


if __name__ == "__main__":
    main(*sys.argv[1:])
