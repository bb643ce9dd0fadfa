"""Limits of a data set that somebody hands in: what one set may cost."""

from __future__ import annotations

from typing import NamedTuple

MAX_FILES = 500_000  # in a folder and below it
MAX_PATH_PARTS = 64  # folders above a file
MAX_PICTURES = 200_000
MAX_ANNOTATIONS = 2_000_000
MAX_CLASSES = 254  # that a mask can hold, without the background and 255
MAX_NAMES = 20_000  # of a listing; most may be without an annotation
MAX_TEXT_BYTES = 1 << 24  # of a list of pictures, or the lines of one picture
MAX_YAML_BYTES = 1 << 20
MAX_YAML_NODES = 2 * MAX_NAMES + 1_000
MAX_YAML_DEPTH = 8
MAX_XML_BYTES = 1 << 26
MAX_ARCHIVE_FILES = 100_000
MAX_ARCHIVE_BYTES = 64 << 30  # unpacked


class JsonLimits(NamedTuple):
    """Of one file: its bytes, its lists and objects (64 bytes of memory each), and the commas between values (32)."""

    n_bytes: int
    n_lists: int
    n_values: int
    n_annotations: int = MAX_ANNOTATIONS


OWN_JSON = JsonLimits(1 << 28, 6_000_000, 40_000_000)  # at most some 2 GB of memory
PUBLISHED_JSON = JsonLimits(1 << 32, 1 << 30, 1 << 32, 1 << 30)  # LVIS has 1.2 GB; from a user's own disk
