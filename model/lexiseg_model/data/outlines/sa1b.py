"""SA-1B: `sa_1.jpg` beside `sa_1.json`, wherever its archives were unpacked to; objects have no names."""

from __future__ import annotations

import json
from pathlib import Path

from lexiseg_model.data.outlines.coco_masks import read_objects
from lexiseg_model.data.outlines.source import Outlined
from lexiseg_model.data.pairs.decode import decode
from lexiseg_model.data.pairs.source import StoredPair
from lexiseg_model.errors import DatasetError, SampleError


class Sa1b:
    """Every photograph below a folder that has a JSON beside it."""

    classes: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            DatasetError: there is none.
        """
        self._images = [path for path in sorted(folder.rglob("*.jpg")) if path.with_suffix(".json").exists()]
        if not self._images:
            raise DatasetError(f"{folder} holds no NAME.jpg with NAME.json beside it, as SA-1B has them")

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Outlined:
        path = self._images[index]
        name = str(path)
        try:
            entries = json.loads(path.with_suffix(".json").read_bytes())["annotations"]
            photograph = path.read_bytes()
        except OSError as error:
            raise SampleError(name, f"cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise SampleError(name, f"its JSON is not SA-1B's: {error!r}") from None
        image = decode(StoredPair(name, photograph, ()))
        return Outlined(name, image, read_objects(name, entries, (image.shape[0], image.shape[1])), ())
