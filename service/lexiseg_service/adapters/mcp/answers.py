"""What the tools for language models answer with: the schema that a client is told, and answers written in it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from lexiseg_model.types import Segment
from lexiseg_service.question.messages import WorkerAnswer

DIGITS = 3  # of scores and percentages
FILE = "resource with the picture as a PNG of full size, where the one beside this is reduced"


class SegmentRow(BaseModel):
    """One segment or object."""

    label: str | None = Field(description="the word that it is; null: it was cut out by a point or a box")
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


class Counted(Table):
    """What was found, and how many objects of each word."""

    counts: dict[str, int]


class CutOut(BaseModel):
    """What was cut out; the picture is the content's second block."""

    image: str
    segment: SegmentRow
    file: str | None = Field(None, description=FILE)


class Extent(BaseModel):
    """How much of a picture a word takes."""

    pixels: int
    percent: float
    square_units: float | None = Field(None, description="only where the length of a pixel was given")


class Measured(BaseModel):
    """How much of a picture each word takes."""

    image: str
    unit: str = Field(description="unit of `square_units`")
    measured: dict[str, Extent]


class Change(BaseModel):
    """The percent of two pictures that a word takes."""

    before: float
    after: float
    change: float


class Compared(BaseModel):
    """What changed between two pictures."""

    before: str = Field(description="`id:...` of the first picture")
    after: str
    percent: dict[str, Change]


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
    return SegmentRow(
        label=segment.label,
        score=round(segment.score, DIGITS),
        area=segment.area,
        percent=percent(segment.area, size),
        box=[x, y, width, height],
        centre=[x + width / 2, y + height / 2],
    )


def percent(area: float, size: tuple[int, int]) -> float:
    """An area in percent of a picture of (height, width)."""
    return round(100 * area / (size[0] * size[1]), DIGITS)


def areas(answer: WorkerAnswer, words: list[str]) -> dict[str, int]:
    """Pixels of each word, 0 without a segment; classes are by index, as the service strips names."""
    totals = dict.fromkeys(words, 0)
    for segment in answer.segments:
        if segment.class_index is not None:
            totals[words[segment.class_index]] += segment.area
    return totals


def extent(area: int, size: tuple[int, int], units_per_pixel: float | None) -> Extent:
    """Pixels, percent of a picture of (height, width), and square units where the length of a pixel's side is given."""
    units = {} if units_per_pixel is None else {"square_units": area * units_per_pixel**2}
    return Extent(pixels=area, percent=percent(area, size), **units)
