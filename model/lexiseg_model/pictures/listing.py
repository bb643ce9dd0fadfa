"""Pictures of folders and tables."""

from __future__ import annotations

from pathlib import Path

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.names import is_hidden

# Names of the column that names a table's picture files, the first match counts.
COLUMNS_OF_FILES = ("image", "filepath", "file", "filename", "file_name", "image_path", "path")


def visible_in(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files: those of systems, or of a run that was killed."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; none if there is no such folder."""
    entries = visible_in(folder) if folder.is_dir() else []
    return [path for path in entries if is_picture_name(path) and path.is_file()]
