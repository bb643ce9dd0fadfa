"""Which forms there are besides the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from lexiseg_service.commands.bulk.converting.coco import write_coco
from lexiseg_service.commands.bulk.converting.webdataset import write_webdataset
from lexiseg_service.commands.bulk.converting.yolo import write_yolo
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size

Form = Literal["coco", "webdataset", "yolo"]
WRITERS: Mapping[Form, Callable[[Job, Destination, Size], None]] = {
    "coco": write_coco,
    "webdataset": write_webdataset,
    "yolo": write_yolo,
}


def convert(form: Form, job: Job, destination: Destination, size: Size) -> str:
    """Writes a finished job's answers in another form; what an earlier conversion wrote is replaced.

    Returns:
        Where they are.
    """
    WRITERS[form](job, destination, size)
    return f"{destination.url}/{form}"
