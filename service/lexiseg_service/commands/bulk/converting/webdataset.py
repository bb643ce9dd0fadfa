"""Tar shards as webdataset reads them, one for each file of rows: DST/webdataset/000000.tar, NAME.jpg and NAME.json.

The pictures are read from the source once more; one that cannot be read any more is left out.
"""

from __future__ import annotations

import io
import json
import re
import tarfile

from lexiseg_service.commands.bulk.contents import Contents, Unreadable
from lexiseg_service.commands.bulk.converting.answers import Names, answers_of, ids_of_answers
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size
from lexiseg_service.errors import ServiceError
from lexiseg_service.image.header import read_header
from lexiseg_service.settings import Limits

AHEAD = 32  # pictures that are read ahead
SUFFIXES = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tif",
    "HEIF": "heic",
    "AVIF": "avif",
}
KEYS = re.compile(r"[^\w\-]+")  # what does not stay: a dot would end the key


def write_webdataset(job: Job, destination: Destination, size: Size) -> None:
    """One shard after the other."""
    contents = Contents(job.source, job.settings.limits.max_image_bytes, AHEAD)
    names = Names(ids_of_answers(destination, size), KEYS)
    try:
        for chunk in range(size.chunks):
            rows = {row["id"]: row for row in answers_of(destination, chunk)}
            items = [item for item in destination.chunk(chunk) if item.id in rows]
            with (
                destination.open(f"webdataset/{chunk:06d}.tar", "wb") as out,
                tarfile.open(fileobj=out, mode="w|") as shard,
            ):
                for item, content in zip(items, contents.of(items), strict=True):
                    if isinstance(content, Unreadable) or (suffix := _suffix(content, job.settings.limits)) is None:
                        continue
                    name = names.of(item.id)
                    _add(shard, f"{name}.{suffix}", content)
                    _add(shard, f"{name}.json", json.dumps(rows[item.id], ensure_ascii=False).encode())
    finally:
        contents.close()


def _suffix(content: bytes, limits: Limits) -> str | None:
    """None where it is no picture any more."""
    try:
        return SUFFIXES[read_header(content, limits).format]
    except ServiceError:
        return None


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))
