"""Label Studio's tasks as a job, and the predictions that it imports."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.adapters.asking import DATA_URI, adapted
from tests.service.adapters.label_studio.predicting import CONFIG, URL, regions
from tests.service.adapters.label_studio.test_images import label_studio

TASKS = [
    {"id": 7, "data": {"photo": DATA_URI}, "annotations": [], "meta": {}},
    {"id": 9, "data": {"photo": "/data/upload/1/a.png"}},
    {"id": 11, "data": {"photo": "data:image/png;base64,AAAA"}},
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

    assert [each["task"] for each in by_job] == [7, 9]
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
