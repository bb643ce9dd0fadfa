"""What the tools for language models answer with: the schema that a client is told, and answers written in it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from lexiseg_model.types import Segment
from lexiseg_service.question.messages import WorkerAnswer

DIGITS = 3  # of scores and percentages
FILE = "resource with the picture as a PNG of full size, where the one beside this is reduced"


class SegmentRow(BaseModel):
    """One segment or object."""

    label: str | None = Field(description="class label; null for a point or a box")
    score: float = Field(ge=0, le=1)
    area: int = Field(ge=1, description="pixels")
    percent: float = Field(description="share of the picture")
    box: list[float] = Field(min_length=4, max_length=4, description="left, top, width, height in pixels")
    centre: list[float] = Field(min_length=2, max_length=2, description="x, y of the box's middle in pixels")


class Table(BaseModel):
    """What was found in a picture."""

    image: str = Field(description="`id:...`, which asks about the same picture again at once")
    width: int
    height: int
    segments: list[SegmentRow]
    absent: list[str] = Field(description="words of which nothing was found")
    warnings: list[str]


class Painted(Table):
    """What was found; the painted picture is the content's second block."""

    file: str | None = Field(None, description=FILE)


class CutOut(BaseModel):
    """What was cut out; the picture is the content's second block."""

    image: str
    segment: SegmentRow
    file: str | None = Field(None, description=FILE)


class Listed(BaseModel):
    """A model that can be asked."""

    name: str
    summary: str
    tasks: list[str]


class Models(BaseModel):
    """The models that can be asked, the default first."""

    models: list[Listed]


def table(answer: WorkerAnswer) -> Table:
    """An answer with the image id for further questions."""
    height, width = answer.size
    return Table(
        image=f"id:{answer.image_id}",
        width=width,
        height=height,
        segments=[row(segment, answer.size) for segment in answer.segments],
        absent=list(answer.absent),
        warnings=[warning.detail for warning in answer.warnings],
    )


def row(segment: Segment, size: tuple[int, int]) -> SegmentRow:
    """A segment of a picture of (height, width)."""
    x, y, width, height = segment.bbox
    share = segment.area / (size[0] * size[1])
    return SegmentRow(
        label=segment.label,
        score=round(segment.score, DIGITS),
        area=segment.area,
        percent=round(100 * share, DIGITS),
        box=[x, y, width, height],
        centre=[x + width / 2, y + height / 2],
    )
