"""The JSON of the /trainings routes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from lexiseg_model.types import StrictModel


class TrainingInput(StrictModel):
    """A model to be tuned on the pictures of an archive."""

    name: str = Field(description="name of the new model: at most 64 characters of a-z, 0-9 and -")
    start: str = Field("tiny", description="model to start from, as NAME or NAME@VERSION")
    dry_run: bool = Field(False, description="only say what the archive holds, in `found`; nothing is trained")


class TrainingOutput(BaseModel):
    """A training, and where it stands."""

    id: str = Field(description="training id")
    name: str = Field(description="name of the new model")
    start: str = Field(description="model that it starts from")
    state: Literal["waiting", "running", "done", "refused", "failed"] = Field(
        description="done: the model is in the list; refused: it is no better than its start, which stays; failed: "
        "`detail` and the log say why"
    )
    created: str = Field(description="time of creation, as RFC 3339 in UTC")
    started: str | None = Field(description="time at which a trainer took it; null before")
    ended: str | None = Field(description="time of its end; null before")
    expires: str | None = Field(description="time from which it is removed, some days after its end; null before")
    detail: str | None = Field(description="result or reason in a sentence, for people; null before the end")
    found: dict[str, Any] | None = Field(
        description="contents of the zip: `layout`, `classes` with `pictures` and `pixels`, `photographs` by split, "
        "`left_out` and the first `left_out_pictures` with reasons, `unknown_pixels`, `background_pixels` and "
        "`warnings`; null until it is read"
    )
    figures: dict[str, Any] | None = Field(
        description="measurements before and after: `before` and `after` with figures by class, `changes` in percent "
        "with 95 % intervals `low` to `high`, and the chosen `step`; null until they are measured"
    )


class TrainingList(BaseModel):
    """The trainings of a client."""

    trainings: list[TrainingOutput] = Field(description="trainings of this API key, the oldest first")
