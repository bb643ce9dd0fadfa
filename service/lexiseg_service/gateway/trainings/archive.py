"""Look at the archive of a training before it is taken: a zip, by its directory alone.

Nothing is unpacked here: the importer does that in the sandbox of the training, which alone pays for a hostile file.
"""

from __future__ import annotations

import zipfile
from typing import BinaryIO

from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import open_zip
from lexiseg_model.files.names import is_hidden
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, BYTES_PER_ENTRY, parts_inside

MAX_FILES = 20_000


def unpacked_bytes(content: BinaryIO, max_bytes: int) -> int:
    """The bytes of all files in a zip, as it states them; no reader takes more.

    Raises:
        InvalidValue: no whole zip, no files, too many files or bytes, or a name that leads out of it.
    """
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
