"""What all archives share that clients upload, for jobs, heads and trainings."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path
from typing import BinaryIO

from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import open_zip, parts_of
from lexiseg_model.files.names import is_hidden
from lexiseg_model.files.sandbox import Limits
from lexiseg_service.errors import InvalidValue

ARCHIVE_FILE, IMPORTED = "archive.zip", "imported"  # in the folder where one is kept: as it came, and as a set
MAX_FILES = 20_000  # of a data set
ARCHIVE = "archive"  # the field of a form
BYTES_PER_ENTRY = 128  # of a zip's directory: 46, a name and extra fields
PROGRAM = (sys.executable, "-m", "lexiseg_service.cli")  # its `data import` reads sets, in a sandbox
# An importer reads pictures one by one, and one file of annotations.
IMPORT = Limits(seconds=1800, cpu_seconds=1800, memory_bytes=3 * 2**30, file_bytes=2 * 2**30)
# At least two parts, not within a word, a name, an address or a path that was cut.
ABSOLUTE = re.compile(r"(?<![\w./~…-])(?:file://)?/(?!/)(?:[^\s/:'\"]+/+)+([^\s/:'\"]*)")

QUOTED = re.compile(r"(['\"])/[^'\"]*/([^'\"/]*)\1")


def parts_inside(name: str) -> tuple[str, ...]:
    """The parts of a name in an archive. Raises InvalidValue: it leads out of it."""
    parts = parts_of(name)
    if parts is None:
        raise InvalidValue.of(ARCHIVE, f"the name {name[:80]!r}", "names within the archive")
    return parts


def unpacked_bytes(content: BinaryIO, max_bytes: int) -> int:
    """The bytes of all files in a zip, as it states them; no reader takes more."""
    try:
        with open_zip(content, MAX_FILES * BYTES_PER_ENTRY) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except TooManyEntriesError as error:
        raise InvalidValue.of(ARCHIVE, str(error), f"at most {MAX_FILES:,} files") from None
    except zipfile.BadZipFile as error:
        raise InvalidValue.of(ARCHIVE, f"a file that is damaged or cut off ({error})", "a whole zip") from None
    visible = [entry for entry in entries if not any(map(is_hidden, parts_inside(entry.filename)))]
    if not visible:
        raise InvalidValue.of(ARCHIVE, "no files", "pictures with their labels")
    if (nbytes := sum(entry.file_size for entry in entries)) > max_bytes:
        raise InvalidValue.of(ARCHIVE, f"{nbytes:,} bytes unpacked", f"at most {max_bytes:,}")
    return nbytes


def without_paths(text: str, folder: Path) -> str:
    """A line as clients see it: the paths of their training as names in the archive, the last part of all others."""
    for root in {str(folder), str(folder.resolve())}:
        for place in (f"{root}/{ARCHIVE_FILE}", f"{root}/{IMPORTED}"):
            text = text.replace(f"{place}/", "").replace(place, "the archive")
        text = text.replace(f"{root}/", "").replace(root, "the training")
    text = ABSOLUTE.sub(r"…/\1", QUOTED.sub(r"\1…/\2\1", text))
    return "".join(each if each.isprintable() or each == "\t" else "�" for each in text)
