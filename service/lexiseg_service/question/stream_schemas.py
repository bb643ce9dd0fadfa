"""The JSON of the /streams routes, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from lexiseg_service.question.schemas import BackgroundInput, ClassInput, PromptInput, SegmentAnswer, Strict, Text

TrackId = Annotated[int, Field(ge=1, lt=2**53, strict=True)]  # as exact as JSON's numbers are to a browser


class StreamInput(Strict):
    """What holds for every frame of a stream that follows objects."""

    classes: list[Text | ClassInput] | None = Field(
        None,
        description="what the objects are labelled with, frame by frame; or `vocabulary`; with neither labels are null",
        fail_fast=True,
        examples=[["cow", "dog"]],
    )
    vocabulary: str | None = Field(None, description="a named class list instead of `classes`", examples=["voc20"])
    background: bool | BackgroundInput | None = Field(
        None,
        description="true (default with `classes`): what no class explains has no label; false: each object has one; "
        "a named vocabulary has a default of its own",
    )
    model: str | None = Field(None, description="NAME or NAME@VERSION; default: the first of `GET /models`")
    max_side: Annotated[int, Field(ge=32, le=16384)] | None = Field(
        None, description="caps the longer side of the network's input; masks keep the frame's size"
    )


class StreamOutput(BaseModel):
    """A stream that is open."""

    stream: str = Field(description="its id, of the path of its frames")
    idle_seconds: float = Field(description="without a frame for so long it is ended")


class FollowInput(Strict):
    """An object that begins in this frame."""

    track_id: TrackId = Field(description="its number from now on; one that is followed already begins anew")
    prompt: PromptInput = Field(description="what shows it in this frame")


class FrameImageInput(Strict):
    """The picture of a frame."""

    base64: str = Field(description="the encoded file")


class FrameInput(Strict):
    """The next frame of a stream."""

    image: FrameImageInput = Field(description="the encoded picture")
    follow: list[FollowInput] = Field(
        default_factory=list, fail_fast=True, description="objects to be followed from this frame on"
    )
    unfollow: list[TrackId] = Field(
        default_factory=list, fail_fast=True, description="numbers of objects to be followed no more"
    )


class FrameOutput(SegmentAnswer):
    """The answer about one frame: `track_id` tells which object a segment is. Frames are not kept: no `image_id`."""

    lost: list[int] = Field(description="objects that are followed and not seen in this frame")
    state_reset: bool = Field(description="the stream moved or began anew: its objects may have been forgotten")
