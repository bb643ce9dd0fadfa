"""The export of the page is what the registry of formats writes, and what does not fit is refused by its name."""

import copy
import io
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_labels.data_set import DataSet
from lexiseg_labels.exports import formats, pieces
from lexiseg_labels.masks import rle
from tests.service.web.test_formats import answers, as_on_the_page


def project(seed: int) -> tuple[dict[str, Any], DataSet]:
    """What the page sends, and the same as a data set."""
    classes, pictures = answers(seed)
    return {"classes": classes, "pictures": [*map(as_on_the_page, pictures)]}, DataSet(classes, lambda: pictures)


async def exported(client: httpx.AsyncClient, name: str, sent: Any) -> httpx.Response:
    return await client.post(f"/playground/export/{name}", json=sent)


@pytest.mark.parametrize("name", formats())
async def test_an_export_is_what_the_registry_writes(client: httpx.AsyncClient, name: str) -> None:
    sent, data = project(0)

    answer = await exported(client, name, sent)

    assert answer.status_code == 200, answer.text
    written = {path: b"".join(pieces(content)) for path, content in formats()[name].write(data)}
    if answer.headers["content-type"] != "application/zip":
        assert [answer.content] == list(written.values())
        return
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {path: archive.read(path) for path in archive.namelist()} == written


def put(sent: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The same with another value at a path, as `pictures.0.name`."""
    changed: Any = copy.deepcopy(sent)
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inner = changed
    for part in parents:
        inner = inner[part]
    inner[last] = value
    return dict(changed)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pictures.0.segments.0.mask", {"size": [2, 2], "counts": "04"}),
        ("pictures.0.name", "../../etc/passwd"),
        ("pictures.0.name", "..\\autostart.jpg"),
        ("pictures.0.name", "folder/../../autostart.jpg"),
        ("pictures.0.name", "folder.d/../autostart"),
        ("pictures.0.name", "/etc/passwd"),
        ("pictures.0.name", "folder/.jpg"),
        ("pictures.0.name", "...jpg"),
        ("pictures.0.name", "a" * 300),
        ("pictures.0.size", [100_000, 100]),
        ("pictures.0.size", [60_000, 60_000]),
        ("pictures.0.segments.0.mask.counts", "0"),
        ("pictures.0.segments.0.mask.counts", "no run lengths"),
        ("pictures.0.segments.0.label", "none of the classes"),
        ("pictures.0.segments.0.score", 1.5),
        ("classes", [f"class {number}" for number in range(3000)]),
        ("classes", ["twice", "twice"]),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_name(client: httpx.AsyncClient, path: str, value: Any) -> None:
    sent, _ = project(1)

    answer = await exported(client, "coco", put(sent, path, value))

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"].startswith(path)
    assert set(error) == {"field", "value", "expected"}


async def test_a_name_that_comes_twice_is_refused(client: httpx.AsyncClient) -> None:
    sent, _ = project(1)

    answer = await exported(client, "coco", put(sent, "pictures.1.name", sent["pictures"][0]["name"]))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "pictures"


async def test_a_format_without_room_for_the_classes_says_so(client: httpx.AsyncClient) -> None:
    answer = await exported(client, "voc", {"classes": [f"class {number}" for number in range(300)], "pictures": []})

    assert answer.status_code == 422
    assert "at most 253" in answer.json()["detail"]


async def test_an_unknown_format_is_refused_with_those_there_are(client: httpx.AsyncClient) -> None:
    answer = await exported(client, "docx", project(1)[0])

    assert answer.status_code == 422
    assert answer.json()["detail"] == f"format: expected one of {', '.join(formats())}, got 'docx'"


STRIPES = np.zeros((1500, 2000), bool)
STRIPES[:, ::2] = True


@pytest.mark.parametrize(
    ("size", "counts", "n_segments", "fault"),
    [
        (STRIPES.shape, rle.encode(STRIPES), 1, "borders of pixels"),
        ((5000, 8000), rle.encode(np.zeros((5000, 8000), bool)), 501, "pixels of masks"),
    ],
    ids=["stripes", "empty"],
)
async def test_few_bytes_that_take_much_memory_or_time_are_refused(
    client: httpx.AsyncClient, size: tuple[int, int], counts: str, n_segments: int, fault: str
) -> None:
    segment = {"label": None, "score": 1, "mask": {"size": size, "counts": counts}}
    pictures = [{"name": "a.jpg", "size": size, "segments": [segment] * n_segments}]

    answer = await exported(client, "label-studio", {"classes": [], "pictures": pictures})

    assert answer.status_code == 422
    assert fault in answer.json()["detail"]
