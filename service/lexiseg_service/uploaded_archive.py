"""What all archives share that clients upload, for jobs and for trainings."""

from __future__ import annotations

from lexiseg_model.files.archives import parts_of
from lexiseg_service.errors import InvalidValue

ARCHIVE = "archive"  # the field of a form
BYTES_PER_ENTRY = 128  # of a zip's directory: 46, a name and extra fields


def parts_inside(name: str) -> tuple[str, ...]:
    """The parts of a name in an archive. Raises InvalidValue: it leads out of it."""
    parts = parts_of(name)
    if parts is None:
        raise InvalidValue.of(ARCHIVE, f"the name {name[:80]!r}", "names within the archive")
    return parts
