"""Tar shards as webdataset reads them, one for each file of rows: DST/webdataset/000000.tar, NAME.jpg and NAME.json.

The pictures are read from the source once more; one that cannot be read any more is left out.
"""

from __future__ import annotations

import io
import json
import re
import tarfile

from lexiseg_service.commands.bulk.converting.answers import Names, ids_of_answers
from lexiseg_service.commands.bulk.converting.pictures import pictures_of
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size

KEYS = re.compile(r"[^\w\-]+")  # what does not stay: a dot would end the key


def write_webdataset(job: Job, destination: Destination, size: Size) -> None:
    """One shard after the other."""
    names = Names(ids_of_answers(destination, size), KEYS)
    for chunk in range(size.chunks):
        with (
            destination.open(f"webdataset/{chunk:06d}.tar", "wb") as out,
            tarfile.open(fileobj=out, mode="w|") as shard,
        ):
            for row, content, suffix in pictures_of(job, destination, chunk):
                name = names.of(row["id"])
                _add(shard, f"{name}.{suffix}", content)
                _add(shard, f"{name}.json", json.dumps(row, ensure_ascii=False).encode())


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))
