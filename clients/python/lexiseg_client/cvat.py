"""A CVAT detection function for cvat-cli and CVAT agents: `--function-module lexiseg_client.cvat`. Needs cvat-sdk.

cvat-cli task auto-annotate 12 --function-module lexiseg_client.cvat -p labels=str:car,person

`labels` are the task's labels, used as class names; `labels=str:car=lorry|van,person` adds synonyms.

CVAT hands over one image after another, and uploads when all of a task are done: one that fails loses the others, so a
server that is busy or away is asked again for long, and a refusal is never an image without shapes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import urllib3.exceptions
from cvat_sdk import models
from cvat_sdk.masks import encode_mask

from lexiseg_client.calling.retries import Retry
from lexiseg_client.client import Client
from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike
from lexiseg_client.question import Class

SEPARATOR = "|"  # between the synonyms of a label
PATIENCE, RETRY = 600.0, Retry(most=100)  # seconds for one image, and how often it is sent again
Task: TypeAlias = Literal["instance", "panoptic", "semantic"]
TASK: Task = "panoptic"  # sky has no instances


class Function:
    """A CVAT detection function: segments each image by the labels in `spec`, one shape per segment."""

    def __init__(self, client: Client, classes: Sequence[Class], task: Task = TASK, threshold: float = 0.3) -> None:
        self._client = client
        self._classes = list(classes)
        self._task = task
        self._threshold = threshold
        self._warned: set[str] = set()
        self.spec: cvataa.DetectionFunctionSpec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(label.name, index, type="mask") for index, label in enumerate(classes)]
        )

    def detect(self, context: cvataa.DetectionFunctionContext, image: ImageLike) -> list[models.LabeledShapeRequest]:
        """Shapes with at least CVAT's confidence threshold: masks, or polygons where CVAT asks for them.

        Warnings, as of words that the model does not know, are logged once each: cvat-cli writes them to its terminal.

        Raises:
            HTTPError: the service refused; of the errors that cvat-cli shows as a sentence.
        """
        threshold = self._threshold if context.conf_threshold is None else context.conf_threshold
        mask_options: Any = {"mask": "polygon", "simplify": 1.0} if context.conv_mask_to_poly else {"mask": "rle"}
        try:
            answer = self._client.segment(image, self._classes, task=self._task, threshold=threshold, **mask_options)
        except LexisegError as error:
            raise urllib3.exceptions.HTTPError(str(error)) from None
        for detail in [warning.detail for warning in answer.warnings if warning.detail not in self._warned]:
            self._warned.add(detail)
            logging.getLogger(__name__).warning(detail)
        shapes = []
        for segment in answer:
            index = segment.class_index
            if index is None:
                continue
            if segment.polygons is None:
                shapes.append(cvataa.mask(index, encode_mask(np.asarray(segment.mask, bool))))
            else:
                shapes += [cvataa.polygon(index, ring.exterior.reshape(-1).tolist()) for ring in segment.polygons]
        return shapes


def create(
    labels: str, server: str | None = None, api_key: str | None = None, task: Task = TASK, threshold: float = 0.3
) -> Function:
    """Create the function from cvat-cli's `-p NAME=TYPE:VALUE` parameters.

    Args:
        labels: comma-separated labels of the task; synonyms as `car=lorry|van`.
        server: URL; None: LEXISEG_BASE_URL.
        api_key: None: LEXISEG_API_KEY.
        task: instance, panoptic or semantic.
        threshold: minimum score where CVAT sets none, 0 to 1.
    """
    client = Client(server, api_key=api_key, timeout=PATIENCE, retry=RETRY)
    return Function(client, [_class(label) for label in labels.split(",")], task, threshold)


def _class(label: str) -> Class:
    name, _, words = label.partition("=")
    return Class(name.strip(), synonyms=[word.strip() for word in words.split(SEPARATOR) if word.strip()])
