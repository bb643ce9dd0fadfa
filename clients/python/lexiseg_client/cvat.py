"""A CVAT detection function for cvat-cli and CVAT agents: `--function-module lexiseg_client.cvat`. Needs cvat-sdk.

cvat-cli task auto-annotate 12 --function-module lexiseg_client.cvat -p labels=str:car,person

`labels` are the task's labels, used as class names; `labels=str:car=lorry|van,person` adds synonyms. With
`-p teach=int:12` what is labelled in task 12 teaches a head first, with which the other pictures are asked about.

CVAT hands over one image after another, and uploads when all of a task are done: one that fails loses the others, so a
server that is busy or away is asked again for long, and a refusal is never an image without shapes.
"""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias
from xml.etree import ElementTree

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import urllib3.exceptions
from cvat_sdk import make_client, models
from cvat_sdk.masks import encode_mask

from lexiseg_client.calling.steps import Retry
from lexiseg_client.client import Client
from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike
from lexiseg_client.question import Class
from lexiseg_labels.data_set import REVIEWED_LIST
from lexiseg_labels.formats import cvat

SEPARATOR = "|"  # between the synonyms of a label
EXPORT, IMAGES = "CVAT for images 1.1", "images/"
KEEP_DAYS = 90.0  # of a head after it was taught
PATIENCE, RETRY = 600.0, Retry(most=100)  # seconds for one image, and how often it is sent again
Task: TypeAlias = Literal["instance", "panoptic", "semantic"]
TASK: Task = "panoptic"  # sky has no instances


class Function:
    """A CVAT detection function: segments each image by the labels in `spec`, one shape per segment.

    With a `head`, whose classes may be among the labels; `labelled` are names of images that are not asked about.
    """

    def __init__(
        self,
        client: Client,
        classes: Sequence[Class],
        task: Task = TASK,
        threshold: float = 0.3,
        head: str | None = None,
        labelled: Collection[str] = (),
    ) -> None:
        self._client = client
        self._classes = list(classes)
        self._options: dict[str, Any] = {"task": task, "head": head}
        self._threshold = threshold
        self._labelled = labelled
        self._indices = {entry.name.casefold(): index for index, entry in enumerate(classes)}
        self._warned: set[str] = set()
        self.spec: cvataa.DetectionFunctionSpec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(label.name, index, type="mask") for index, label in enumerate(classes)]
        )

    def detect(self, context: cvataa.DetectionFunctionContext, image: ImageLike) -> list[models.LabeledShapeRequest]:
        """Shapes with at least CVAT's confidence threshold: masks, or polygons where CVAT asks for them.

        Warnings, as of words that the model does not know, are logged once each: cvat-cli writes them to its terminal.
        """
        if context.frame_name in self._labelled:
            return []
        threshold = self._threshold if context.conf_threshold is None else context.conf_threshold
        mask_options: Any = {"mask": "polygon", "simplify": 1.0} if context.conv_mask_to_poly else {"mask": "rle"}
        try:
            answer = self._client.segment(image, self._classes, threshold=threshold, **self._options, **mask_options)
        except LexisegError as error:
            raise urllib3.exceptions.HTTPError(str(error)) from None
        for detail in [warning.detail for warning in answer.warnings if warning.detail not in self._warned]:
            self._warned.add(detail)
            logging.getLogger(__name__).warning(detail)
        shapes = []
        for segment in answer:
            index = self._indices.get((segment.label or "").casefold())  # a head may have others
            if index is None:
                continue
            if segment.polygons is None:
                shapes.append(cvataa.mask(index, encode_mask(np.asarray(segment.mask, bool))))
            else:
                shapes += [cvataa.polygon(index, ring.exterior.reshape(-1).tolist()) for ring in segment.polygons]
        return shapes


def create(
    labels: str,
    server: str | None = None,
    api_key: str | None = None,
    task: Task = TASK,
    threshold: float = 0.3,
    teach: int | None = None,
    host: str = "https://app.cvat.ai",
) -> Function:
    """Create the function from cvat-cli's `-p NAME=TYPE:VALUE` parameters.

    Args:
        labels: comma-separated labels of the task; synonyms as `car=lorry|van`.
        server: URL; None: LEXISEG_BASE_URL.
        api_key: None: LEXISEG_API_KEY.
        task: instance, panoptic or semantic.
        threshold: minimum score where CVAT sets none, 0 to 1.
        teach: number of a task of CVAT; what is labelled in it teaches the head cvat-NUMBER.
        host: CVAT's address for that, with the access token in CVAT_ACCESS_TOKEN.
    """
    client = Client(server, api_key=api_key, timeout=PATIENCE, retry=RETRY)
    classes = [_class(label) for label in labels.split(",")]
    if teach is None:
        return Function(client, classes, task, threshold)
    return Function(client, classes, task, threshold, *_taught(client, teach, host))


def _taught(client: Client, number: int, host: str) -> tuple[str, frozenset[str]]:
    """NAME@VERSION of the head that is taught by a task, and the names of its labelled pictures."""
    with TemporaryDirectory() as folder, make_client(host, access_token=os.environ.get("CVAT_ACCESS_TOKEN")) as tool:
        exported, subset = Path(folder, "task.zip"), Path(folder, "labelled.zip")
        tool.tasks.retrieve(number).export_dataset(EXPORT, exported)
        with zipfile.ZipFile(exported) as task, zipfile.ZipFile(subset, "w") as archive:
            listing = task.read(cvat.LISTING)
            images = ElementTree.fromstring(listing).iter("image")
            labelled = {
                image.get("name", "") for image in images if any(each.tag not in cvat.NO_MARK for each in image)
            }
            # CVAT's names of a video's frames have no suffix.
            names = {entry: PurePosixPath(entry[len(IMAGES) :]) for entry in task.namelist()}
            pictures = [entry for entry, name in names.items() if {str(name), str(name.with_suffix(""))} & labelled]
            for entry in pictures:
                archive.writestr(entry, task.read(entry))
            archive.writestr(cvat.LISTING, listing)
            archive.writestr(REVIEWED_LIST, "\n".join(pictures))
        name = f"cvat-{number}"
        head = client.heads.create_from_zip(name, subset.read_bytes(), keep_days=KEEP_DAYS, replace=True)
    if all(entry.kept == "words" for entry in head.classes):
        logging.getLogger(__name__).warning("declined, no gain: words stay; label more pictures")
    return f"{name}@{head.version}", frozenset(labelled)


def _class(label: str) -> Class:
    name, _, words = label.partition("=")
    return Class(name.strip(), synonyms=[word.strip() for word in words.split(SEPARATOR) if word.strip()])
