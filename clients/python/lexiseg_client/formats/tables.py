"""Export to pandas: a row for each segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexiseg_client.errors import MissingLibrary
from lexiseg_client.segments import Answer

if TYPE_CHECKING:
    import pandas

COLUMNS = ("id", "label", "class_index", "score", "area", "share", "x", "y", "width", "height")
OPTIONAL = ("prompt_index", "mask_index", "quality", "is_thing", "track_id")  # columns where any segment has one


def to_pandas(answer: Answer) -> pandas.DataFrame:
    """`pandas.DataFrame` with a row for each segment: label, score, area, share of the image, box; no masks.

    Of a prompt's, a thing's and a track's columns those that any segment has a value for.

    Raises:
        MissingLibrary: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingLibrary("pandas is not installed: pip install pandas") from None
    pixels = answer.size[0] * answer.size[1]
    optional = [name for name in OPTIONAL if any(getattr(segment, name) is not None for segment in answer.segments)]
    rows = [
        [
            *(segment.id, segment.label, segment.class_index, segment.score, segment.area, segment.area / pixels),
            *segment.bbox,
            *(getattr(segment, name) for name in optional),
        ]
        for segment in answer.segments
    ]
    return pandas.DataFrame(rows, columns=[*COLUMNS, *optional])
