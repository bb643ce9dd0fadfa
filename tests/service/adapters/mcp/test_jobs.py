import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CallToolResult,
    CancelTaskRequest,
    CancelTaskRequestParams,
    EmptyResult,
    GetTaskRequest,
    GetTaskRequestParams,
    Result,
)

from tests.service.adapters.asking import HEIGHT, PICTURE, SQUARE, WIDTH
from tests.service.adapters.mcp.talking import refused, talking, told

TASKS = "io.modelcontextprotocol/tasks"
SHARE = round(100 * SQUARE / (HEIGHT * WIDTH), 3)


class Created(Result):
    """The answer that is a task."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int


class Followed(Result):
    """A task as tasks/get answers."""

    result_type: Literal["complete"]
    task_id: str
    status: str
    status_message: str
    ttl_ms: int | None
    result: CallToolResult | None = None


async def task_of(session: Any, identity: str) -> Followed:
    request = GetTaskRequest(params=GetTaskRequestParams(task_id=identity))
    followed: Followed = await session.send_request(request, Followed)
    return followed


class Tasks(ClientExtension):
    """A client's side of tasks: polls until the end."""

    identifier = TASKS

    def __init__(self) -> None:
        self.created: list[Created] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self.follow)]

    async def follow(self, created: Created, context: ClaimContext) -> CallToolResult:
        self.created.append(created)
        async with asyncio.timeout(60):
            while (task := await task_of(context.session, created.task_id)).result is None:
                await asyncio.sleep(0.05)
        assert (task.status, task.ttl_ms is None) == ("completed", False)
        return task.result


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(PICTURE)
    (folder / "c.png").write_bytes(b"no picture")
    return {"jobs": True, "state_dir": tmp_path / "state", "job_folders": (str(folder),)}


def started(settings: dict[str, Any]) -> dict[str, Any]:
    return {"words": ["red", "green"], "folder": settings["job_folders"][0]}


async def test_a_client_that_knows_tasks_gets_the_end_of_a_job(settings: dict[str, Any]) -> None:
    tasks = Tasks()
    async with talking(None, extensions=[tasks], **settings) as client:
        done = await told(client, "start_job", **started(settings))

        (created,) = tasks.created
        assert (created.status, created.ttl_ms) == ("working", None)
        assert (done["job"], done["state"], done["done"], done["failed"]) == (created.task_id, "done", 2, 1)
        rows = {one["picture"]: one for one in done["pictures"]}
        assert rows["a.png"]["percent"] == rows["b.png"]["percent"] == {"red": SHARE}
        assert rows["c.png"]["percent"] == {}
        assert "image" in rows["c.png"]["problem"]


async def test_a_client_without_tasks_asks_for_the_job_again(settings: dict[str, Any]) -> None:
    async with talking(None, **settings) as client:
        standing = await told(client, "start_job", **started(settings))
        async with asyncio.timeout(60):
            while standing["state"] != "done":
                await asyncio.sleep(0.05)
                standing = await told(client, "job", job=standing["job"])

        rest = await told(client, "job", job=standing["job"], after=2)
        assert (len(standing["pictures"]), len(rest["pictures"])) == (3, 1)
        with pytest.raises(MCPError) as refusal:
            await task_of(client.session, standing["job"])
        assert refusal.value.error.code == -32021  # missing required client capability


async def test_a_job_of_another_key_is_no_task(settings: dict[str, Any]) -> None:
    keys = ["mine"]
    async with talking(None, extensions=[Tasks()], key=lambda: keys[-1], **settings) as client:
        job = (await told(client, "start_job", **started(settings)))["job"]
        keys.append("theirs")

        assert "no such job" in await refused(client, "job", job=job)
        with pytest.raises(MCPError, match="no such job") as refusal:
            await task_of(client.session, job)
        with pytest.raises(MCPError, match="no such job"):
            await cancel(client, job)

        assert refusal.value.error.code == -32602
        keys.append("mine")
        assert (await task_of(client.session, job)).status == "completed"


async def cancel(client: Client, identity: str) -> None:
    await client.session.send_request(CancelTaskRequest(params=CancelTaskRequestParams(task_id=identity)), EmptyResult)


async def test_a_task_that_is_not_done_is_ended_and_erased(settings: dict[str, Any]) -> None:
    async with talking(None, extensions=[Tasks()], works=False, **settings) as client:
        created = await client.session.call_tool("start_job", started(settings), allow_claimed=True)
        assert isinstance(created, Created)
        before = await task_of(client.session, created.task_id)

        await cancel(client, created.task_id)

        assert (before.status, before.status_message) == ("working", "0 of 3 pictures, 0 failed")
        with pytest.raises(MCPError, match="no such job"):
            await task_of(client.session, created.task_id)


async def test_a_task_that_is_done_keeps_its_results(settings: dict[str, Any]) -> None:
    async with talking(None, extensions=[Tasks()], **settings) as client:
        done = (await told(client, "start_job", **started(settings)))["job"]

        await cancel(client, done)

        kept = await task_of(client.session, done)
        assert kept.result is not None
        assert kept.result.structured_content["done"] == 2


async def test_a_folder_that_the_operator_does_not_allow_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    async with talking(None, extensions=[advertise(TASKS)], **settings) as client:
        assert "LEXISEG_JOB_FOLDERS" in await refused(client, "start_job", words=["red"], folder=str(tmp_path))


async def test_without_jobs_neither_their_tools_nor_tasks_are_there() -> None:
    async with talking(None) as client:
        assert "start_job" not in {tool.name for tool in (await client.list_tools()).tools}
