"""Folders that a client sends to a server, which is changed meanwhile."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from lexiseg_client import Client, LexisegError
from tests.service.batch.http.asking import PNG, gateway
from tests.service.batch.telling import Telling, head, vocabulary
from tests.service.commands.command_line import CommandLine
from tests.waiting import until

COUNT, BEFORE = 12, 2
SOFA = {"name": "sofa", "synonyms": ["couch"], "threshold": 0.4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:02d}.png").write_bytes(PNG)
    return folder


def by_command(lexiseg: CommandLine, url: str, folder: Path, out: Path, **named: str) -> str:
    options = [word for name, value in named.items() for word in (f"--{name}", value)]
    return lexiseg("segment", folder, "--server", url, "--out", out, *options).err


def by_client(lexiseg: CommandLine, url: str, folder: Path, out: Path, **named: Any) -> str:
    with Client(url) as client:
        try:
            made = client.label_folder(folder, out=out, concurrency=8, **named)
        except LexisegError as error:
            return str(error)
        return "; ".join(map(str, made.failed.values()))


DOORS = {"segment": by_command, "label_folder": by_client}  # each labels a folder, and returns what is said


def disturbed(backend: Telling, run: Callable[[], str], change: Callable[[], object]) -> str:
    """What a run says in whose middle something changes."""
    backend.open_for, backend.held = len(backend.answered) + BEFORE, False
    said: list[str] = []
    running = Thread(target=lambda: said.append(run()))
    running.start()
    until(lambda: backend.held)
    change()
    backend.open_for = float("inf")
    running.join()
    return said[0]


def files(out: Path) -> dict[str, bytes]:
    found = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


EDITS = {
    "a list of words": (vocabulary("sky", SOFA), {"vocabulary": "mine"}, vocabulary(SOFA, "sky")),
    "a head": (head([0, 0, 2, 2]), {"head": "mugs"}, head([1, 1, 3, 3], [0, 0, 4, 4])),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("door", DOORS)
def test_a_folder_is_labelled_by_the_words_and_lessons_of_its_beginning(
    lexiseg: CommandLine, tmp_path: Path, folder: Path, door: str, edit: str
) -> None:
    before, named, after = EDITS[edit]
    calm, out = tmp_path / "calm", tmp_path / "out"
    with gateway(tmp_path / "state", backend := Telling()) as client:
        url = str(client.base_url)
        assert before(client).is_success
        DOORS[door](lexiseg, url, folder, calm, **named)

        disturbed(
            backend,
            lambda: DOORS[door](lexiseg, url, folder, out, **named),
            lambda: after(client).raise_for_status(),
        )

    assert files(out) == files(calm)


CHANGES: dict[str, Callable[[httpx.Client, Telling], object]] = {
    "there is none called": lambda client, backend: head()(client),
    "other weights": lambda client, backend: setattr(backend, "weights", "new"),
}


@pytest.mark.parametrize("reason", CHANGES)
@pytest.mark.parametrize("door", DOORS)
def test_no_image_is_answered_by_another_head_or_other_weights(
    lexiseg: CommandLine, tmp_path: Path, folder: Path, door: str, reason: str
) -> None:
    with gateway(tmp_path / "state", backend := Telling()) as client:
        head([0, 0, 2, 2])(client)

        said = disturbed(
            backend,
            lambda: DOORS[door](lexiseg, str(client.base_url), folder, tmp_path / "out", head="mugs"),
            lambda: CHANGES[reason](client, backend),
        )

    assert reason in said
    assert said.count(reason) == 1 or reason == "other weights"  # which may come back
    asked = [request.vocabulary.classes for request in backend.asked if request.region_classes is None]
    assert len({tuple(entry.learned for entry in classes) for classes in asked}) == 1
