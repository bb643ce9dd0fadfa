"""Label Studio's tasks as a job, and the predictions that it imports or that are imported into it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.http_server import Quiet, serving
from tests.service.adapters.asking import DATA_URI, adapted
from tests.service.adapters.label_studio.predicting import CONFIG, URL, asked, regions
from tests.service.adapters.label_studio.test_images import label_studio
from tests.waiting import soon

TASKS = [
    {"id": 7, "data": {"photo": DATA_URI}, "annotations": [], "meta": {}},
    {"id": 9, "data": {"photo": "/data/upload/1/a.png"}},
    {"id": 11, "data": {"photo": "data:image/png;base64,AAAA"}},
    {"id": 13, "data": {"photo": "s3://bucket/a.png"}},
]


@pytest.fixture
def home() -> Iterator[str]:
    with label_studio() as (url, _):
        yield url


async def predicted(client: httpx.AsyncClient, config: str) -> list[dict[str, Any]]:
    created = await client.post(f"{URL}/jobs", json={"tasks": TASKS, "label_config": config})
    assert created.status_code == 202, created.text
    async with asyncio.timeout(60):
        while (await client.get(created.headers["Location"])).json()["state"] != "done":
            await asyncio.sleep(0.05)
    answer = await client.get(f"{URL}/jobs/{created.json()['id']}/predictions")
    predictions: list[dict[str, Any]] = sorted(answer.json(), key=lambda each: each["task"])
    return predictions


@pytest.mark.parametrize("control", ["BrushLabels", "PolygonLabels", "RectangleLabels"])
async def test_tasks_as_a_job_are_predicted_as_one_by_one(home: str, tmp_path: Path, control: str) -> None:
    config = CONFIG.replace("BrushLabels", control)
    async with adapted("label-studio", jobs=True, state_dir=tmp_path, label_studio_url=home) as client:
        by_job = await predicted(client, config)
        alone = await regions(client, config=config)

    assert [each["task"] for each in by_job] == [7, 9, 13]
    for each in by_job:
        assert [region["value"] for region in each["result"]] == [region["value"] for region in alone]
        assert each["model_version"].startswith("lexiseg-colours-")


async def test_tasks_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    async with adapted("label-studio", jobs=True, state_dir=tmp_path) as client:
        no_image = await client.post(
            f"{URL}/jobs", json={"tasks": [{"id": 1, "data": {"other": ""}}], "label_config": CONFIG}
        )
        none = await client.post(f"{URL}/jobs", json={"tasks": [], "label_config": CONFIG})

    assert (no_image.status_code, "tasks.0.data.photo" in no_image.json()["detail"]) == (422, True)
    assert (none.status_code, "at least one" in none.json()["detail"]) == (422, True)


class Importing(NamedTuple):
    """A Label Studio that takes predictions."""

    home: str
    imported: list[tuple[str, int]]  # path, and number of the task
    attempts: list[str]  # tokens


@contextmanager
def importing(
    refused: tuple[int, ...] = (), busy: int = 0, away: Callable[[int], bool] = lambda attempt: False
) -> Iterator[Importing]:
    """`refused`: tasks that are not in the project; `busy`, `away`: attempts that are answered by 503."""
    imported: list[tuple[str, int]] = []
    attempts: list[str] = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            attempts.append(self.headers["Authorization"])
            tasks = [each["task"] for each in json.loads(self.rfile.read(int(self.headers["Content-Length"])))]
            is_away = len(attempts) <= busy or away(len(attempts))
            status = 503 if is_away else 400 if {*tasks} & {*refused} else 201
            if status == 201:
                imported.extend((self.path, task) for task in tasks)
            self.send_response(status)
            self.end_headers()

    with serving(Handler) as url:
        yield Importing(url, imported, attempts)


def batch_of(n: int) -> dict[str, Any]:
    """What *Retrieve predictions* sends for a project of `n` tasks."""
    return asked() | {"project": "5.1790000000", "tasks": [{"id": k, "data": {"photo": DATA_URI}} for k in range(n)]}


async def test_what_a_request_leaves_over_is_imported_when_its_job_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.limits.BURST_SECONDS", 2)
    with importing(busy=1) as studio:
        here = {"label_studio_url": studio.home, "label_studio_api_key": "its-token"}
        limits = {"rate_limit": 1}
        async with adapted("label-studio", jobs=True, state_dir=tmp_path, **here, **limits) as client:
            results = (await client.post(f"{URL}/predict", json=batch_of(6))).json()["results"]
            done = [k for k, one in enumerate(results) if "result" in one]
            await soon(lambda: len(done) + len(studio.imported) == 6)

    assert done == [*range(len(done))]
    assert {one["error"]["type"] for one in results[len(done) :]} == {"in-job"}
    path = "/api/projects/5/import/predictions"
    assert sorted(studio.imported) == [(path, k) for k in range(len(done), 6)]
    assert {*studio.attempts} == {"Token its-token"}


async def test_a_prediction_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with importing(refused=(1,)) as studio:
        here = {"label_studio_url": studio.home, "label_studio_api_key": "its-token"}
        body = {"tasks": batch_of(3)["tasks"], "label_config": CONFIG, "project": 7}
        async with adapted("label-studio", jobs=True, state_dir=tmp_path, **here) as client:
            created = await client.post(f"{URL}/jobs", json=body)
            async with asyncio.timeout(60):
                while (await client.get(created.headers["Location"])).json()["webhook"] != "sent":
                    await asyncio.sleep(0.05)

    assert created.status_code == 202, created.text
    assert sorted(task for _, task in studio.imported) == [0, 2]


async def test_an_import_goes_on_where_a_gateway_has_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.adapters.label_studio_import.BATCH", 2)
    is_back: list[bool] = []
    with importing(away=lambda attempt: attempt > 1 and not is_back) as studio:
        here = {"label_studio_url": studio.home, "label_studio_api_key": "its-token"}
        body = {"tasks": batch_of(5)["tasks"], "label_config": CONFIG, "project": 7}
        async with adapted("label-studio", jobs=True, state_dir=tmp_path, **here) as client:
            await client.post(f"{URL}/jobs", json=body)
            await soon(lambda: len(studio.attempts) > 1)
        is_back.append(True)
        async with adapted("label-studio", jobs=True, state_dir=tmp_path, **here):
            await soon(lambda: len(studio.imported) >= 5)

    assert sorted(task for _, task in studio.imported) == [0, 1, 2, 3, 4]


async def test_a_project_whose_predictions_are_still_to_come_is_not_asked_again(tmp_path: Path) -> None:
    with importing(busy=10**6) as studio:
        here = {"label_studio_url": studio.home, "label_studio_api_key": "its-token"}
        async with adapted("label-studio", jobs=True, state_dir=tmp_path, **here) as client:
            body = {"tasks": batch_of(3)["tasks"], "label_config": CONFIG, "project": 5}
            await client.post(f"{URL}/jobs", json=body)
            again = await client.post(f"{URL}/predict", json=batch_of(3))
            other = await client.post(f"{URL}/predict", json=batch_of(3) | {"project": "6.1790000000"})

    assert (again.status_code, "of 3 tasks of this project" in again.json()["detail"]) == (503, True)
    assert other.status_code == 200


async def test_predictions_are_imported_into_the_label_studio_of_the_settings_alone(tmp_path: Path) -> None:
    body = {"tasks": batch_of(1)["tasks"], "label_config": CONFIG, "project": 5}
    async with adapted("label-studio", jobs=True, state_dir=tmp_path) as client:
        answer = await client.post(f"{URL}/jobs", json=body)

    assert (answer.status_code, "LEXISEG_LABEL_STUDIO_URL" in answer.json()["detail"]) == (422, True)


async def test_a_job_of_another_label_studio_than_that_of_the_settings_is_not_imported(tmp_path: Path) -> None:
    body = {"tasks": batch_of(1)["tasks"], "label_config": CONFIG, "project": 5}
    with importing(busy=10**6) as before, importing() as studio:
        for home, wanted in ((before.home, "due"), (studio.home, "given up")):
            here = {"label_studio_url": home, "label_studio_api_key": "its-token"}
            async with adapted("label-studio", jobs=True, state_dir=tmp_path, **here) as client:
                if home == before.home:
                    await client.post(f"{URL}/jobs", json=body)
                    await soon(lambda: before.attempts)
                async with asyncio.timeout(60):
                    while (await client.get("/v1/jobs")).json()["jobs"][0]["webhook"] != wanted:
                        await asyncio.sleep(0.05)

    assert studio.attempts == []
