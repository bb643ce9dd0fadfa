"""Jobs of many pictures: two tools, and tasks for clients that know these (io.modelcontextprotocol/tasks).

`start_job` answers a client that knows tasks with one, whose id is the job's: tasks/get tells its state, and at its end
what `job` answers; tasks/cancel ends a job that runs, and erases it as `DELETE /v1/jobs/ID` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

import orjson
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding, ToolBinding
from mcp.server.mcpserver.server import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CancelTaskRequestParams,
    GetTaskRequestParams,
    ToolAnnotations,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, Field

from lexiseg_service.adapters.mcp.answers import DIGITS, percent
from lexiseg_service.adapters.mcp.tools import Call, CallerOf, CardScore, Model, Words, result, with_tool_errors
from lexiseg_service.batch.description import JobInput
from lexiseg_service.batch.http.jobs import Jobs
from lexiseg_service.batch.ledger.job import Job, Progress
from lexiseg_service.errors import ServiceError, UnknownJob
from lexiseg_service.gateway.rest.paths import STABLE
from lexiseg_service.gateway.times import rfc3339
from lexiseg_service.question.validation import validate

POLL_MS = 2000
MAX_LISTED = 100  # pictures of an answer: more would fill a model's context
VERSIONS = frozenset(MODERN_PROTOCOL_VERSIONS)
JobId = Annotated[str, Field(description="`job` of start_job's answer")]
Context = ServerRequestContext[Any, Any]


class JobPicture(BaseModel):
    """What was found in one picture of a job."""

    picture: str
    percent: dict[str, float] = Field(description="share of the picture of each word that was found")
    problem: str | None = Field(None, description="reason why there is no answer")


class Standing(BaseModel):
    """A job, and what there is of its answers."""

    job: str
    state: Literal["waiting", "running", "done"]
    total: int = Field(description="pictures")
    done: int = Field(description="pictures with an answer")
    failed: int = Field(description="pictures with a problem")
    seconds_left: float | None = Field(description="null: not known")
    detail: str | None = Field(description="reason why the job makes no progress")
    results: str = Field(description="path of all results with masks at this server; `?to=coco` another format")
    pictures: list[JobPicture] = Field(description="the first of the answers, from `after` on")


class JobTasks(Extension):
    """The tools and methods of jobs.

    Args:
        jobs: those of the gateway.
        caller_of: the caller of a request, whose jobs alone can be seen.
    """

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self, jobs: Jobs, caller_of: CallerOf) -> None:
        self._jobs = jobs
        self._caller_of = caller_of

    def tools(self) -> Sequence[ToolBinding]:
        """`start_job`, which changes what the server keeps, and `job`."""
        starts, reads = ToolAnnotations(destructive_hint=False), ToolAnnotations(read_only_hint=True)
        return [
            ToolBinding(with_tool_errors(self.start_job), kwargs={"annotations": starts}),
            ToolBinding(with_tool_errors(self.job), kwargs={"annotations": reads}),
        ]

    def methods(self) -> Sequence[MethodBinding]:
        """tasks/get, tasks/cancel, and tasks/update, for no task of ours asks anything."""
        return [
            MethodBinding("tasks/get", GetTaskRequestParams, self._get, VERSIONS),
            MethodBinding("tasks/cancel", CancelTaskRequestParams, self._cancel, VERSIONS),
            MethodBinding("tasks/update", GetTaskRequestParams, self._update, VERSIONS),
        ]

    async def start_job(
        self,
        context: Call,
        words: Words,
        folder: Annotated[str | None, Field(description="folder or s3:// prefix that the server may read")] = None,
        urls: Annotated[list[str] | None, Field(description="addresses of pictures, instead of a folder")] = None,
        threshold: CardScore = None,
        model: Model = None,
    ) -> Annotated[CallToolResult, Standing]:
        """Divide many pictures among words in the background; `job` tells how far it is, and what was found."""
        question = {"classes": words, "threshold": threshold, "model": model}
        sent = {name: value for name, value in question.items() if value is not None}
        asked = validate(JobInput, {"question": sent, "folder": folder, "urls": urls})
        job, progress = await self._jobs.create(asked, None, self._caller_of(context.request_context))
        return result(await self._standing(job, progress))

    async def job(
        self,
        context: Call,
        job: JobId,
        after: Annotated[int, Field(ge=0, description="answers that were seen already")] = 0,
    ) -> Annotated[CallToolResult, Standing]:
        """How far a job is, and what was found in 100 of its pictures."""
        found, progress = await self._jobs.find(job, self._caller_of(context.request_context))
        return result(await self._standing(found, progress, after))

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        """A started job as a task, where the client knows these."""
        answer = await call_next(ctx)
        capabilities = ctx.session.client_capabilities
        knows = capabilities is not None and self.identifier in (capabilities.extensions or {})
        if params.name != "start_job" or not knows or ctx.protocol_version not in VERSIONS:
            return answer
        if not isinstance(answer, CallToolResult) or answer.is_error:
            return answer
        return {"resultType": "task", **await self._task(*await self._found(ctx, answer.structured_content["job"]))}

    async def _get(self, ctx: Context, params: GetTaskRequestParams) -> HandlerResult:
        job, progress = await self._found(ctx, params.task_id)
        task = await self._task(job, progress)
        if progress.ended is not None:
            answer = result(await self._standing(job, progress))
            task["result"] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        return task

    async def _cancel(self, ctx: Context, params: CancelTaskRequestParams) -> HandlerResult:
        job, progress = await self._found(ctx, params.task_id)
        if progress.ended is None:  # else its results stay
            await self._jobs.remove(job.id, self._caller_of(ctx))
        return {}

    async def _update(self, ctx: Context, params: GetTaskRequestParams) -> HandlerResult:
        await self._found(ctx, params.task_id)
        return {}

    async def _found(self, ctx: Context, identity: str) -> tuple[Job, Progress]:
        """A job of the caller. Raises MCPError: there is none, or the client does not know tasks."""
        require_client_extension(ctx, self.identifier)
        try:
            return await self._jobs.find(identity, self._caller_of(ctx))
        except ServiceError as error:
            raise MCPError(INVALID_PARAMS if isinstance(error, UnknownJob) else INTERNAL_ERROR, error.detail) from None

    async def _task(self, job: Job, progress: Progress) -> dict[str, Any]:
        """A task by the extension's schema, without its result."""
        output, parts = self._jobs.output(job, progress), await self._jobs.parts(job)
        settled = f"{progress.done + progress.failed} of {job.total} pictures, {progress.failed} failed"
        return {
            "taskId": job.id,
            "status": "working" if progress.ended is None else "completed",
            "statusMessage": "; ".join(filter(None, [settled, output["detail"]])),
            "createdAt": output["created"],
            "lastUpdatedAt": output["ended"] or rfc3339(parts[-1].at if parts else job.created),
            "ttlMs": None if output["expires"] is None else _ms_between(output["created"], output["expires"]),
            "pollIntervalMs": POLL_MS,
        }

    async def _standing(self, job: Job, progress: Progress, after: int = 0) -> Standing:
        output, parts = self._jobs.output(job, progress), await self._jobs.parts(job)
        lines = await asyncio.to_thread(lambda: list(islice(self._jobs.lines(job, parts), after, after + MAX_LISTED)))
        shared = {name: output[name] for name in ("state", "total", "done", "failed", "seconds_left", "detail")}
        pictures = [_picture_of(orjson.loads(line), job.classes) for line in lines]
        return Standing(job=job.id, results=f"{STABLE}/jobs/{job.id}/results", pictures=pictures, **shared)


def _ms_between(earlier: str, later: str) -> int:
    """Milliseconds between two times of RFC 3339."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)) // timedelta(milliseconds=1)


def _picture_of(line: dict[str, Any], words: Sequence[str]) -> JobPicture:
    """A line of a job's results, without masks."""
    answer, shares = line["answer"], dict[str, float]()
    if answer is None:
        return JobPicture(picture=line["image"], percent={}, problem=line["problem"]["detail"])
    for segment in answer["segments"]:
        word = words[segment["class_index"]]
        shares[word] = round(shares.get(word, 0) + percent(segment["area"], answer["size"]), DIGITS)
    return JobPicture(picture=line["image"], percent=shares)
