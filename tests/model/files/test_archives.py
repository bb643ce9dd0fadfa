"""Zips and tars of strangers: no size that a file states is believed before it is within bounds; names of files."""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lexiseg_model.errors import TooManyEntriesError
from lexiseg_model.files.archives import MAX_TAR_FILE, MAX_TAR_HEADER, entries_of, files_in, open_tar, open_zip
from lexiseg_model.files.names import as_text, from_text, on_one_line, to_utf8, visible_files

DIRECTORY = 51 * 20  # bytes of it in `zipped(20)`: 46 and a name of five characters
# Of an entry in a directory: places of the header's offset, of the packed size, and of the flags.
OF_ENTRY, OFFSET, PACKED, FLAGS = b"PK\1\2", 42, 20, 8
END = b"PK\5\6"
Changed = Callable[[bytearray], object]


def zipped(n_files: int) -> bytearray:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in range(n_files):
            archive.writestr(f"{number:05}", b"1")
    return bytearray(content.getvalue())


def in_zip64(content: bytearray, stated: int) -> bytearray:
    """The same zip with a record of ZIP64, in whose favour zipfile ignores the size that the other one states."""
    at = content.rindex(END)
    count, _, size, start = struct.unpack_from("<HHLL", content, at + 8)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = content[at:]
    struct.pack_into("<L", end, 12, stated)
    return content[:at] + record + locator + end


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    """A header of a tar, whatever size it states."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    content = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    content[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content)
    return bytes(content)


def with_fields(fields: bytes) -> bytes:
    """A file of a tar with PAX fields before it."""
    return header("fields", tarfile.XHDTYPE, len(fields)) + fields.ljust(512, b"\0") + header("a.jpg")


def tarred(*names: str) -> bytes:
    return b"".join(map(header, names)) + bytes(1024)


@pytest.mark.parametrize("content", [zipped(20), in_zip64(zipped(20), DIRECTORY), in_zip64(zipped(20), 2**32 - 1)])
def test_a_zip_is_opened_whose_directory_is_within_bounds(content: bytearray) -> None:
    with open_zip(io.BytesIO(content), DIRECTORY) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [b"1"] * 20


@pytest.mark.parametrize("content", [zipped(20), in_zip64(zipped(20), DIRECTORY), in_zip64(zipped(20), 1)])
def test_a_directory_is_refused_that_is_larger_whichever_record_states_it(content: bytearray) -> None:
    with pytest.raises(TooManyEntriesError, match="a directory of 1,020 bytes"):
        open_zip(io.BytesIO(content), DIRECTORY - 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda zipped: struct.pack_into("<L", zipped, zipped.rindex(END) + 16, 2**31), "begins outside the file"),
        (lambda zipped: struct.pack_into("<L", zipped, zipped.index(OF_ENTRY) + OFFSET, 2**31), "begins outside"),
        (lambda zipped: struct.pack_into("<L", zipped, zipped.index(OF_ENTRY) + PACKED, len(zipped)), "overlap"),
        (lambda zipped: struct.pack_into("<H5x", zipped, zipped.index(OF_ENTRY) + FLAGS, 0x800), "cannot be read"),
        (lambda zipped: zipped.pop(), "not a zip file"),
    ],
)
def test_a_damaged_zip_is_said_to_be_one(change: Changed, says: str) -> None:
    content = zipped(20).replace(b"00000", b"\xff0000")
    change(content)

    with pytest.raises(zipfile.BadZipFile, match=says):
        open_zip(io.BytesIO(content), DIRECTORY)


@pytest.mark.parametrize("size", [MAX_TAR_HEADER + 1, -1])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_header_is_read_within_bounds(kind: bytes, size: int) -> None:
    with pytest.raises(tarfile.ReadError, match=f"a header of {size:,} bytes"):
        list(files_in(io.BytesIO(header("a.jpg") + header("long", kind, size) + bytes(2 * MAX_TAR_HEADER))))


def test_entries_of_a_tar_are_counted_and_none_is_kept() -> None:
    with open_tar(io.BytesIO(tarred("a", "b", "c"))) as archive:
        assert [entry.name for entry in entries_of(archive, 3)] == ["a", "b", "c"]
        assert len(archive.getmembers()) < 3
    with pytest.raises(TooManyEntriesError, match="more than 2 entries"):
        list(files_in(io.BytesIO(tarred("a", "b", "c")), 2))


@pytest.mark.parametrize(
    "content",
    [
        header("a.jpg", size=-1024),
        header("a.jpg", size=MAX_TAR_FILE + 1),
        header("a.jpg", size=2**80),
        with_fields(b"14 size=-1024\n"),
        with_fields(b"29 GNU.sparse.map=a,b,c,d,e,f\n"),
        (header("long", tarfile.GNUTYPE_LONGNAME, 1) + b"a".ljust(512, b"\0")) * 2_000,
    ],
    ids=["negative", "large", "larger", "negative in PAX", "no number in PAX", "long names without an end"],
)
def test_a_damaged_tar_is_said_to_be_one(content: bytes) -> None:
    with pytest.raises(tarfile.ReadError):
        list(files_in(io.BytesIO(content + bytes(1024))))


def test_a_cut_off_tar_yields_the_files_before_its_end() -> None:
    files = files_in(io.BytesIO(tarred("a", "b")[:1000]))

    assert next(files).name == "a"
    with pytest.raises(tarfile.ReadError):
        next(files)


def test_a_compressed_tar_is_opened_only_where_that_is_asked_for() -> None:
    content = gzip.compress(tarred("a"))

    with open_tar(io.BytesIO(content), compressed=True) as archive:
        assert archive.getnames() == ["a"]
    with pytest.raises(tarfile.ReadError):
        open_tar(io.BytesIO(content))


LATIN = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("name", [LATIN, "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "plain"])
def test_a_name_survives_as_text_and_as_json(name: str) -> None:
    assert from_text(as_text(name).encode().decode()) == name
    assert json.loads(to_utf8(json.dumps(name, ensure_ascii=False))) == name


def test_a_name_is_one_line_in_a_list() -> None:
    assert on_one_line("a\nb\x1b\u2028\x85c") == "a_b___c"


def test_hidden_files_and_folders_are_not_listed(tmp_path: Path) -> None:
    for name in ("b.jpg", "._b.jpg", ".thumbnails/b.jpg", "below/a.jpg", "below/.DS_Store", f"{LATIN}.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    listed = [path.relative_to(tmp_path).as_posix() for path in visible_files(tmp_path)]

    assert listed == ["b.jpg", "below/a.jpg", f"{LATIN}.jpg"]
