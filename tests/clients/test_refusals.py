"""What the server did not answer is an error of its picture, and never an empty answer or a picture of a data set."""

from pathlib import Path

import pytest

from lexiseg_client import Client, LexisegError, Retry
from tests import pictures
from tests.clients.scripted_server import Say, scripted

REFUSALS = {"unauthorized": 401, "rate-limited": 429, "queue-full": 429, "not-ready": 503, "deadline-exceeded": 504}


def refusal(kind: str) -> Say:
    problem = {"type": kind, "title": "", "status": REFUSALS[kind], "detail": f"refused: {kind}"}
    return Say(REFUSALS[kind], problem, content_type="application/problem+json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(pictures.encoded(pictures.small("china", 32)))
    return folder


@pytest.mark.parametrize("kind", REFUSALS)
def test_map_returns_or_raises_the_refusal(folder: Path, kind: str) -> None:
    with scripted(refusal(kind)) as script, Client(script.url, retry=Retry(most=0)) as client:
        outcomes = list(client.map(folder, ["sky"], on_error="return"))
        with pytest.raises(LexisegError, match=kind):
            list(client.map(folder, ["sky"]))

    assert len(outcomes) == 2
    assert all(isinstance(each, LexisegError) and kind in str(each) for each in outcomes)


@pytest.mark.parametrize("to", ["coco", "yolo", "labelme", "label-studio"])
@pytest.mark.parametrize("kind", REFUSALS)
def test_label_folder_writes_no_picture_that_was_refused(folder: Path, kind: str, to: str) -> None:
    with (
        scripted(refusal(kind)) as script,
        Client(script.url, retry=Retry(most=0)) as client,
        pytest.raises(LexisegError, match=kind),
    ):
        client.label_folder(folder, ["sky"], to=to)

    assert [path for path in folder.with_name(f"photos-{to}").rglob("*") if path.is_file()] == []
