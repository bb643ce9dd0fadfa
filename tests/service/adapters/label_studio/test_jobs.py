"""Label Studio's tasks as a job, and the predictions that it imports or that are imported into it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from lexiseg_service.errors import RateLimited
from lexiseg_service.gateway.admission.limits import ClientLimits
from tests.http_server import Quiet, serving
from tests.service.adapters.asking import DATA_URI, adapted
from tests.service.adapters.label_studio.predicting import CONFIG, URL, asked, regions
from tests.waiting import soon


class Importing(NamedTuple):
    """A Label Studio that takes predictions."""

    home: str
    imported: list[tuple[str, dict[str, Any]]]  # path, and prediction of a task
    attempts: list[str]  # tokens

    @property
    def tasks(self) -> list[int]:
        return sorted(each["task"] for _, each in self.imported)


@contextmanager
def importing(
    refused: tuple[int, ...] = (), busy: int = 0, away: Callable[[int], bool] = lambda attempt: False
) -> Iterator[Importing]:
    """`refused`: tasks that are not in the project; `busy`, `away`: attempts that are answered by 503."""
    imported: list[tuple[str, dict[str, Any]]] = []
    attempts: list[str] = []

    class Handler(Quiet):
        def do_POST(self) -> None:
            attempts.append(self.headers["Authorization"])
            predictions = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            tasks = {each["task"] for each in predictions}
            is_away = len(attempts) <= busy or away(len(attempts))
            status = 503 if is_away else 400 if tasks & {*refused} else 201
            if status == 201:
                imported.extend((self.path, each) for each in predictions)
            self.send_response(status)
            self.end_headers()

    with serving(Handler) as url:
        yield Importing(url, imported, attempts)


def adapted_to(studio: str, tmp_path: Path) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    here = {"label_studio_url": studio, "label_studio_api_key": "its-token"}
    return adapted("label-studio", jobs=True, state_dir=tmp_path, **here)


def batch_of(n: int, **others: Any) -> dict[str, Any]:
    """What *Retrieve predictions* sends for a project of `n` tasks."""
    tasks = [{"id": number, "data": {"photo": DATA_URI}} for number in range(n)]
    return asked() | {"project": "5.1790000000", "tasks": tasks} | others


async def leave_over(client: httpx.AsyncClient, n: int, **others: Any) -> list[int]:
    """The tasks of a request that become a job: all but the first, as the client's rate allows one."""

    async def refuse(limits: ClientLimits, client: str) -> None:
        raise RateLimited("one request a second")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientLimits, "count", refuse)
        results = (await client.post(f"{URL}/predict", json=batch_of(n, **others))).json()["results"]
    assert ["result" in one or one["error"]["type"] for one in results] == [True, *["in-job"] * (n - 1)]
    return [*range(1, n)]


@pytest.mark.parametrize("control", ["BrushLabels", "PolygonLabels", "RectangleLabels"])
async def test_what_a_request_leaves_over_is_imported_when_its_job_has_ended(tmp_path: Path, control: str) -> None:
    config = CONFIG.replace("BrushLabels", control)
    with importing(busy=1) as studio:
        async with adapted_to(studio.home, tmp_path) as client:
            alone = await regions(client, config=config)
            rest = await leave_over(client, 6, label_config=config)
            await soon(lambda: studio.tasks == rest)

    assert {path for path, _ in studio.imported} == {"/api/projects/5/import/predictions"}
    assert {*studio.attempts} == {"Token its-token"}
    for _, prediction in studio.imported:
        assert [each["value"] for each in prediction["result"]] == [region["value"] for region in alone]
        assert prediction["model_version"].startswith("lexiseg-colours-")


async def test_a_prediction_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with importing(refused=(5,)) as studio:
        async with adapted_to(studio.home, tmp_path) as client:
            rest = await leave_over(client, 7)
            async with asyncio.timeout(60):
                while (await client.get("/v1/jobs")).json()["jobs"][0]["webhook"] != "sent":
                    await asyncio.sleep(0.05)

    assert studio.tasks == [number for number in rest if number != 5]


async def test_an_import_goes_on_where_a_gateway_has_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.adapters.label_studio_jobs.BATCH", 2)
    is_back: list[bool] = []
    with importing(away=lambda attempt: attempt > 1 and not is_back) as studio:
        async with adapted_to(studio.home, tmp_path) as client:
            rest = await leave_over(client, 7)
            await soon(lambda: len(studio.attempts) > 1)
        is_back.append(True)
        async with adapted_to(studio.home, tmp_path):
            await soon(lambda: len(studio.imported) >= len(rest))

    assert studio.tasks == rest


async def test_a_project_whose_predictions_are_still_to_come_is_not_asked_again(tmp_path: Path) -> None:
    with importing(busy=10**6) as studio:
        async with adapted_to(studio.home, tmp_path) as client:
            rest = await leave_over(client, 6)
            again = await client.post(f"{URL}/predict", json=batch_of(3))
            other = await client.post(f"{URL}/predict", json=batch_of(1, project="6.1790000000"))

    assert (again.status_code, f"of {len(rest)} tasks of this project" in again.json()["detail"]) == (503, True)
    assert other.status_code == 200


async def test_a_job_of_another_label_studio_than_that_of_the_settings_is_not_imported(tmp_path: Path) -> None:
    with importing(busy=10**6) as before, importing() as studio:
        for home, outcome in ((before.home, "due"), (studio.home, "given up")):
            async with adapted_to(home, tmp_path) as client:
                if home == before.home:
                    await leave_over(client, 6)
                    await soon(lambda: before.attempts)
                async with asyncio.timeout(60):
                    while (await client.get("/v1/jobs")).json()["jobs"][0]["webhook"] != outcome:
                        await asyncio.sleep(0.05)

    assert studio.attempts == []
