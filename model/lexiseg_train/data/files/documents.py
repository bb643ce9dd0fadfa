"""JSON, YAML and text of a data set, bounded in bytes, depth and counts. Errors name the file, never what it holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lexiseg_model.errors import DatasetError

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
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Letters that are the same bytes in all of Windows' code pages of Latin letters (1250, 1252, 1254), where they stand as
# in words of these languages: elsewhere they may be halves of Chinese or Japanese signs, or Cyrillic.
LATIN_PAGE, LOWER, UPPER, OTHER = "cp1252", "[ßáâäçéëíîóôöúü]", "[ÁÂÄÇÉËÍÎÓÔÖÚÜ]", r"[^\x00-\x7f]"
IN_WORDS = re.compile(
    rf"(?<=[A-Za-z]){LOWER}{{1,2}}(?!{OTHER})|(?<!{OTHER}){LOWER}{{1,2}}(?=[A-Za-z])"
    rf"|\b{UPPER}(?=[A-Za-z])|(?<=[A-Z]){UPPER}(?!{OTHER})"
)


class JsonLimits(NamedTuple):
    """Of one file: its bytes, its lists and objects (64 bytes of memory each), and the commas between values (32)."""

    n_bytes: int
    n_lists: int
    n_values: int
    n_annotations: int = MAX_ANNOTATIONS


OWN_JSON = JsonLimits(1 << 28, 6_000_000, 40_000_000)  # at most some 2 GB of memory
PUBLISHED_JSON = JsonLimits(1 << 32, 1 << 30, 1 << 32, 1 << 30)  # LVIS has 1.2 GB; from a user's own disk


class LimitError(DatasetError):
    """A file that would take more than one of a set may."""


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a file. Raises DatasetError: it cannot be read; LimitError: it has more than `max_bytes`."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    if len(content) > max_bytes:
        raise LimitError(f"{path} has more than {max_bytes:,} bytes, which is the most that is read")
    return content


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A text in UTF-8 or UTF-16, or in letters that all Latin code pages share."""
    return _decoded(path, read_bytes(path, max_bytes))


def _decoded(path: Path, content: bytes) -> str:
    try:
        text = content.decode(BYTE_ORDER_MARKS.get(content[:2], "utf-8-sig"))
        is_text = "\0" not in text  # as in UTF-16 without its mark
    except UnicodeDecodeError:
        text = content.decode(LATIN_PAGE, "replace")
        is_text = IN_WORDS.sub("", text).isascii()
    if not is_text:
        raise DatasetError(f"{path} is not in UTF-8, and does not say in which code page: save it as UTF-8")
    return text


def read_json(path: Path, limits: JsonLimits = OWN_JSON) -> Any:
    content = read_bytes(path, limits.n_bytes)
    # Counted before they are made: "[]," takes 3 bytes in a file, and 64 in memory.
    n_lists, n_values = content.count(b"[") + content.count(b"{"), content.count(b",")
    if n_lists > limits.n_lists or n_values > limits.n_values:
        raise LimitError(
            f"{path} has {n_lists:,} lists and objects and {n_values:,} values; expected at most "
            f"{limits.n_lists:,} and {limits.n_values:,}"
        )
    try:
        try:
            return json.loads(content)
        except UnicodeDecodeError:
            return json.loads(_decoded(path, content))
    except RecursionError:
        raise LimitError(f"{path} is JSON that is nested too deep") from None
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: mappings, lists and texts. Every scalar is a text, so `no` and `1` are names, too."""
    text = read_text(path, MAX_YAML_BYTES)
    try:
        _check_limits(path, text)
        return yaml.load(text, yaml.BaseLoader)  # makes only mappings, lists and texts
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise DatasetError(f"{path} is not YAML{place}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DatasetError(f"{path} is not YAML") from None


def _check_limits(path: Path, text: str) -> None:
    depth = n_nodes = 0
    for event in yaml.parse(text, yaml.BaseLoader):
        # Aliases: nine nested lists of nine aliases each are 9^9 values.
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise LimitError(f"{path}: YAML's anchors and aliases are not read: write each value where it belongs")
        n_nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if n_nodes > MAX_YAML_NODES:
            raise LimitError(f"{path}: more than {MAX_YAML_NODES:,} values")
        if depth > MAX_YAML_DEPTH:
            raise LimitError(f"{path}: values nested more than {MAX_YAML_DEPTH} deep")
