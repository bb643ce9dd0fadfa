"""The lists of labels and colours in PASCAL VOC's layout, as datumaro and CVAT write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import whole_number

Colour: TypeAlias = "tuple[int, int, int]"


def colours_of_meta(content: Mapping[str, Any]) -> list[tuple[object, Colour]]:
    """The labels of a `voc.META` with their colours. Raises UnreadableLabels: it has no label or colour of one."""
    try:
        labels, colours = content["label_map"], content["segmentation_colors"]
        return [(labels[str(index)], _colour(colour)) for index, colour in enumerate(colours)]
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableLabels(f"expected datumaro's label_map and segmentation_colors: {error!r:.100}") from None


def _colour(numbers: Sequence[object]) -> Colour:
    red, green, blue = (whole_number(each) for each in numbers)
    return red, green, blue


def colours_of_label_map(lines: Iterable[str]) -> list[tuple[str, Colour]]:
    """The labels of a `voc.LABEL_MAP` with their colours: NAME:R,G,B:PARTS:ACTIONS; other lines are passed over."""
    entries = []
    for line in lines:
        name, _, rest = line.strip().partition(":")
        numbers = [int(each) for each in rest.split(":")[0].split(",") if each.strip().isdecimal()]
        if name and not name.startswith("#") and len(numbers) == 3:
            red, green, blue = numbers
            entries.append((name, (red, green, blue)))
    return entries
