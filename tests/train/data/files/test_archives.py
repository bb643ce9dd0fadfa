"""Archives of sets: names stay inside, bytes and files are counted, links are left out."""

import io
import random
import stat
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.files.inside import is_archive, unpack

OUTSIDE = ("../a.txt", "/a.txt", "..\\a.txt", "C:\\a.txt", "x/../../a.txt", "\\\\host\\a.txt")


def zipped(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def tarred(path: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PACKED = [zipped, *(partial(tarred, mode=mode) for mode in ("w", "w:gz", "w:bz2", "w:xz"))]


@pytest.mark.parametrize("pack", PACKED, ids=["zip", "tar", "gz", "bz2", "xz"])
def test_files_are_unpacked_without_hidden_ones(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive = pack(
        tmp_path / "a", ("set/a.txt", b"1"), ("__MACOSX/set/._a.txt", b"2"), (".git/x", b"3"), ("b\\c.txt", b"4")
    )

    assert is_archive(archive)
    assert unpack(archive, tmp_path / "out") == ()
    assert files_in(tmp_path / "out") == {"set/a.txt": b"1", "b/c.txt": b"4"}


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_name_that_leads_out_is_refused(pack, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive = pack(tmp_path / "a", ("b.txt", b"1"), (name, b"2"))

    with pytest.raises(DatasetError, match="expected names inside the archive"):
        unpack(archive, tmp_path / "deep/out")

    assert [*files_in(tmp_path)] == ["a", "deep/out/b.txt"]


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo(f"kind-{kind.decode()}.jpg")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)

    entry_of_zip = zipfile.ZipInfo("a.jpg")
    entry_of_zip.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(entry_of_zip, "/etc/passwd")

    for name, count in (("a.tar", 4), ("a.zip", 1)):
        (sentence,) = unpack(tmp_path / name, tmp_path / "out")
        assert sentence.startswith(f"{count} links or devices in ")
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_files_and_bytes_are_bounded(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    archive = pack(tmp_path / "a", *((f"{number}.txt", bytes(1000)) for number in range(10)))

    with pytest.raises(DatasetError, match="more than 9 files"):
        unpack(archive, tmp_path / "files", max_files=9)
    with pytest.raises(DatasetError, match="more than 9,999 bytes unpacked"):
        unpack(archive, tmp_path / "bytes", max_bytes=9_999)


@pytest.mark.parametrize("members", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_a_name_twice_is_refused(members: tuple[str, str], tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", *((name, b"1") for name in members))

    with pytest.raises(DatasetError, match="one name twice"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar", ".deflated.zip", ".lzma.zip"])
@pytest.mark.parametrize("keep", [0.5, 1.0], ids=["half", "edited"])
def test_a_damaged_archive_is_refused_in_a_sentence(suffix: str, keep: float, tmp_path: Path) -> None:
    archive, content = tmp_path / f"a{suffix}", random.Random(0).randbytes(3000)
    if suffix.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA if "lzma" in suffix else zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("b", content * 5)
    else:
        tarred(archive, ("b", content), mode="w:gz" if suffix == ".tar.gz" else "w")
    damaged = bytearray(archive.read_bytes()[: int(archive.stat().st_size * keep)])
    damaged[100:140] = b"\xff" * 40
    archive.write_bytes(damaged)

    with pytest.raises(DatasetError, match=r"a\..* is damaged, cut off or encrypted") as refused:
        unpack(archive, tmp_path / "there")

    assert "\n" not in str(refused.value)
