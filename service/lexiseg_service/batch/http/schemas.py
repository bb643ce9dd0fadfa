"""The JSON of the /jobs routes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lexiseg_service.batch.formats import Format
from lexiseg_service.question.schemas import Problem, SegmentAnswer


class JobOutput(BaseModel):
    """A job, and where it stands."""

    id: str = Field(description="job id")
    state: Literal["waiting", "running", "done"] = Field(
        description="waiting: no picture is begun; running: pictures are left; done: every picture has a line"
    )
    total: int = Field(description="number of pictures")
    done: int = Field(description="number of pictures with an answer")
    failed: int = Field(description="number of pictures with a problem")
    per_minute: float = Field(description="pictures a minute: lately while it runs, over its whole time at the end")
    seconds_left: float | None = Field(description="estimate of the remaining time; null while it is not known")
    created: str = Field(description="time of creation, as RFC 3339 in UTC")
    ended: str | None = Field(description="time of the last answer; null before")
    expires: str | None = Field(description="time of removal with all results; null before the job ends")
    to: Format = Field(description="default format of the results")
    classes: list[str] = Field(description="labels in the order of `class_index`")
    detail: str | None = Field(description="reason why the job makes no progress, for people; null: none")
    webhook: Literal["none", "due", "sent", "given up"] = Field(description="state of the notice to the webhook")


class JobList(BaseModel):
    """The jobs of a client."""

    jobs: list[JobOutput] = Field(description="jobs of this API key, the oldest first")


class LineOutput(BaseModel):
    """One line of the results as JSON lines: a picture with its answer, or with the problem."""

    number: int = Field(description="number of the picture in the order of the source, from 0")
    image: str = Field(description="address of the picture, or its path in the folder or archive")
    answer: SegmentAnswer | None = Field(description="answer of `POST /v1/segment`; null with a problem")
    problem: Problem | None = Field(description="reason why there is no answer; null with one")
