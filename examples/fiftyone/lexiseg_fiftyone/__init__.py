"""A model of FiftyOne's zoo that asks a lexiseg service: `dataset.apply_model(load_model(classes=["cat"]), "lexiseg")`.

As a source of the zoo (https://docs.voxel51.com/model_zoo/remote.html) the folder of this module is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fiftyone
import numpy as np
from fiftyone.core.models import Model
from numpy.typing import NDArray

from lexiseg_client import Client

Picture = NDArray[np.uint8]


class Words(Model):  # type: ignore[misc]  # its library has no types
    """Words become `fiftyone.Detections`.

    Args:
        classes: the words.
        url: of the service; None: `LEXISEG_BASE_URL`, else http://localhost:8000.
        options: further fields of a question, as `task="semantic"` or `threshold=0.5`.
    """

    media_type = "image"
    ragged_batches = False  # pictures of a batch may have any sizes
    transforms = None
    preprocess = False

    def __init__(self, classes: Sequence[str], url: str | None, **options: Any) -> None:
        self._client = Client(url)
        self._classes = list(classes)
        self._options = {"task": "instance", **options}

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def predict(self, arg: Picture) -> fiftyone.Detections:
        """What is in a picture [H, W, 3]."""
        return self._client.segment(arg, self._classes, **self._options).to_fiftyone()

    def predict_all(self, args: Iterable[Picture]) -> list[fiftyone.Detections]:
        """What is in pictures, which are asked about at the same time."""
        return [answer.to_fiftyone() for answer in self._client.map(args, self._classes, **self._options)]


def download_model(model_name: str, model_path: str) -> None:
    """Called by the zoo; the model is the service's, so the file is empty."""
    Path(model_path).touch()


def load_model(
    model_name: str = "", model_path: str = "", *, classes: Sequence[str], url: str | None = None, **options: Any
) -> Words:
    """The model, as the zoo and users call it; see `Words`."""
    return Words(classes, url, **options)
