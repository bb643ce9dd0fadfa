"""Write an answer to a file in the form that the file's suffix says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lexiseg_client.formats import pictures

if TYPE_CHECKING:
    from lexiseg_client.segmentation import Segmentation

Form: TypeAlias = "Callable[[Segmentation, Path], bytes]"


def _picture(answer: Segmentation, path: Path) -> bytes:
    return pictures.encoded(answer.painted(), path.suffix.lower())


def _text(answer: Segmentation, path: Path) -> bytes:
    written: dict[str, Callable[[], str]] = {
        ".csv": lambda: answer.to_pandas().to_csv(index=False),
        ".geojson": lambda: json.dumps(answer.to_geojson()),
        ".json": lambda: json.dumps(answer.to_dict()),
        ".txt": answer.to_yolo,
        ".xml": lambda: answer.to_cvat(_image_name(answer)),
    }
    return written[path.suffix.lower()]().encode()


def _image_name(answer: Segmentation) -> str:
    return Path(answer.image).name if isinstance(answer.image, (str, os.PathLike)) else "image"


FORMS: Mapping[str, Form] = {
    **dict.fromkeys(pictures.WRITTEN, _picture),
    **dict.fromkeys((".csv", ".geojson", ".json", ".txt", ".xml"), _text),
}


def save(answer: Segmentation, path: Path) -> Path:
    """See `Segmentation.save`."""
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"{path}: expected a suffix of {', '.join(FORMS)}, got {path.suffix or 'none'!r}")
    content = form(answer, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
