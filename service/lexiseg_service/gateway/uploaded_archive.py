"""What all archives share that clients upload, for jobs, heads and trainings."""

from __future__ import annotations

import sys

from lexiseg_model.files.archives import parts_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.sandbox import Limits

ARCHIVE = "archive"  # the field of a form
BYTES_PER_ENTRY = 128  # of a zip's directory: 46, a name and extra fields
PROGRAM = (sys.executable, "-m", "lexiseg_service.cli")  # whose `data import` reads sets, in a sandbox
# An importer reads pictures one by one, and one file of annotations.
IMPORT = Limits(seconds=1800, cpu_seconds=1800, memory_bytes=3 * 2**30, file_bytes=2 * 2**30)


def parts_inside(name: str) -> tuple[str, ...]:
    """The parts of a name in an archive. Raises InvalidValue: it leads out of it."""
    parts = parts_of(name)
    if parts is None:
        raise InvalidValue.of(ARCHIVE, f"the name {name[:80]!r}", "names within the archive")
    return parts
