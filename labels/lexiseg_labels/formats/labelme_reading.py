"""Labelme's JSON as tools write it, X-AnyLabeling and others too."""

from __future__ import annotations

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import Listed, reviewed_mark, shape_reader


def picture_of(content: object, file: str) -> Listed:
    """The picture of a file; its name is "" where none is stated. Raises UnreadableLabels: it is not Labelme's."""
    if not isinstance(content, dict) or not isinstance(shapes := content.get("shapes"), list):
        raise UnreadableLabels("no JSON of Labelme: it has no list of shapes")
    name, height, width = (content.get(key) for key in ("imagePath", "imageHeight", "imageWidth"))
    read, reviewed = shape_reader(lambda _: shapes), reviewed_mark(content.get("flags"))
    return Listed(name if isinstance(name, str) else "", height, width, read, reviewed, file=file)
