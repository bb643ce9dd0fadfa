"""`lexiseg serve` restarts its gateway and workers, and they end with it."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests import pictures
from tests.integration.server import Server, form
from tests.waiting import SOON, until

PHOTOGRAPH = pictures.encoded(pictures.small("china", 64), "JPEG")


def readiness(server: Server) -> dict[str, object]:
    content: dict[str, object] = httpx.get(f"{server.url}/readyz", timeout=SOON).json()
    return content


# Imported in the place of the decoder, which it changes and leaves as the module of its name.
CRASHING_DECODER = """
import pathlib, signal, sys

here = str(pathlib.Path(__file__).parent)
sys.path.remove(here)
del sys.modules["simplejpeg"]
import simplejpeg
decode_jpeg = simplejpeg.decode_jpeg

def crash_or_decode(data, *arguments, **options):
    if data.endswith(b"crash"):
        signal.raise_signal(signal.SIGSEGV)  # to this thread: it ends before the decoder returns
    return decode_jpeg(data, *arguments, **options)

simplejpeg.decode_jpeg = crash_or_decode
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers, which crash when they decode what ends in `crash`."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "simplejpeg.py").write_text(CRASHING_DECODER)
    path = os.pathsep.join([str(folder), *sys.path])
    with Server(folder / "log.jsonl", LEXISEG_WORKERS="2", PYTHONPATH=path) as started:
        until(lambda: readiness(started)["detail"] == "2 of 2 workers are ready")
        yield started


def children(server: Server) -> list[psutil.Process]:
    """Two workers and a gateway, in any order: each may have been started anew."""
    return psutil.Process(server.process.pid).children()


def ready_workers(server: Server) -> dict[str, psutil.Process]:
    """The workers by their names."""
    until(lambda: readiness(server)["detail"] == "2 of 2 workers are ready")
    return {path.name: child for child in children(server) for path in sockets(child)}


def sockets(process: psutil.Process) -> list[Path]:
    """Unix sockets that a process listens on."""
    return [Path(str(each.laddr)) for each in process.net_connections("unix") if each.laddr]


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: the first process of a container may never ask how its children ended."""
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def resident_bytes(server: Server) -> int:
    return sum(child.memory_info().rss for child in children(server))


def test_a_killed_worker_is_shown_and_started_again_while_the_other_answers(server: Server) -> None:
    ready_workers(server)["worker-0"].kill()

    until(lambda: bool(readiness(server)["degraded"]))
    said = readiness(server)
    answer = httpx.post(f"{server.url}/segment", files=form(PHOTOGRAPH, "sky"), timeout=SOON)
    until(lambda: readiness(server)["detail"] == "2 of 2 workers are ready")

    assert said["status"] == "ready"
    assert str(said["degraded"]).startswith("['worker worker-0: ")
    assert answer.status_code == 200
    assert len(children(server)) == 3
    assert '"role": "worker-0", "status": -9' in server.log.read_text()


def test_an_image_that_crashes_its_workers_twice_is_refused(server: Server) -> None:
    def ask(image: bytes) -> httpx.Response:
        until(lambda: readiness(server)["detail"] == "2 of 2 workers are ready")
        return httpx.post(f"{server.url}/segment", files=form(image, "sky"), timeout=SOON)

    def n_crashes() -> int:
        return server.log.read_text().count('"status": -11')

    while n_crashes() < 2:
        ask(PHOTOGRAPH + b"crash")  # another worker may be asked again within one question
        until(lambda: bool(readiness(server)["degraded"]) or n_crashes() == 2)
    refused = ask(PHOTOGRAPH + b"crash")
    answered = ask(PHOTOGRAPH)

    assert (refused.status_code, refused.json()["type"]) == (422, "undecodable-image")
    assert answered.status_code == 200
    assert n_crashes() == 2


def test_the_metrics_are_those_of_all_processes(server: Server) -> None:
    asked = httpx.post(f"{server.url}/segment", files=form(PHOTOGRAPH, "sky"), timeout=SOON)

    assert asked.status_code == 200
    assert server.metric('lexiseg_model_loaded{model="tiny",version="1"}') == 2
    assert server.metric('lexiseg_questions_total{by="rest"}') >= 1
    until(lambda: server.metric("process_resident_memory_bytes") == pytest.approx(resident_bytes(server), rel=0.1))


def test_the_allocator_returns_the_memory_of_large_images(server: Server) -> None:
    assert [child.environ().get("MALLOC_MMAP_THRESHOLD_") for child in children(server)] == [str(8 * 2**20)] * 3


def test_a_removed_folder_of_sockets_is_noticed_and_there_again(server: Server) -> None:
    workers = list(ready_workers(server).values())
    folder = sockets(workers[0])[0].parent
    shutil.rmtree(folder)

    until(lambda: not any(worker.is_running() for worker in workers))
    until(lambda: readiness(server)["detail"] == "2 of 2 workers are ready")

    assert sorted(path.name for path in folder.glob("worker-?")) == ["worker-0", "worker-1"]
    assert httpx.get(f"{server.url}/livez", timeout=SOON).status_code == 200
    assert httpx.post(f"{server.url}/segment", files=form(PHOTOGRAPH, "sky"), timeout=SOON).status_code == 200


def test_children_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with Server(tmp_path / "log.jsonl") as server:
        left = children(server)
        server.process.kill()
        server.wait()

        until(lambda: not any(map(is_alive, left)))

    assert len(left) == 2
