"""Where images come from: files, folders, patterns, URLs, the standard input."""

import io
import sys
from pathlib import Path

import pytest
import typer

from lexiseg_service.batch.sources.source import Unreadable
from lexiseg_service.commands.image_files import Source, sources_of
from lexiseg_service.commands.question import with_examples
from lexiseg_service.errors import TooLarge
from lexiseg_service.settings import Limits
from tests.http_server import Quiet, serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    for name in ("b.JPG", "a.png", "below/c.heic", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def names(folder: Path, *given: str) -> list[str]:
    return [str(Path(source.name).relative_to(folder)) for source in sources_of(given, Limits())]


def test_a_folder_is_every_image_in_it_and_below(folder: Path) -> None:
    assert names(folder, str(folder)) == ["a.png", "b.JPG", "below/c.heic"]


def test_a_pattern_is_every_file_that_fits(folder: Path) -> None:
    assert names(folder, f"{folder}/**/*.heic", f"{folder}/?.png") == ["below/c.heic", "a.png"]


def test_what_an_earlier_run_has_written_below_is_no_image_of_the_next(folder: Path) -> None:
    for name in ("out/a.png", "out-2/a.png", "out-2/annotations.json", "out-3/mine.png", "outer/mine.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")

    for given in (str(folder), f"{folder}/**/*"):
        found = sources_of([given], Limits(), folder / "out")
        mine = [str(Path(source.name).relative_to(folder)) for source in found if source.stem == "mine"]
        assert mine == ["out-3/mine.png", "outer/mine.png"]
        assert not any("out/" in source.name or "out-2" in source.name for source in found)
    assert names(folder, f"{folder}/out") == ["out/a.png"]
    assert [source.stem for source in sources_of([f"{folder}/out/*.png"], Limits(), folder / "out")] == ["a"]


@pytest.mark.parametrize("given", ["", "*.png"])
def test_nothing_found_is_told(tmp_path: Path, given: str) -> None:
    (tmp_path / "moving.gif").write_bytes(b"GIF89a")
    with pytest.raises(Unreadable, match=r"expected a folder with images \(JPEG, PNG, .*\), it|no image matches"):
        sources_of([str(tmp_path / given)], Limits())


def test_what_has_no_end_is_read_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless, whole = Path("/dev/zero"), tmp_path / "whole.jpg"
    whole.write_bytes(bytes(99))
    limits = Limits(max_image_bytes=99)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(100))))

    assert Source("whole", whole, limits).read() == bytes(99)
    for source in (Source("endless", endless, limits), Source("-", None, limits)):
        with pytest.raises(TooLarge, match="at most 99 are taken"):
            source.read()
    with pytest.raises(typer.BadParameter, match="/dev/zero cannot be read: the picture has 100 bytes or more"):
        with_examples((), ["cup=/dev/zero@1,1,9,9"], (), limits)


def test_a_url_is_fetched_within_the_limit() -> None:
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/a") else 404)
            self.end_headers()
            self.wfile.write(bytes(100))

    with serving(Handler) as base:
        source = Source(f"{base}/a%20b.jpg?x=1")
        assert (source.stem, source.read()) == ("a b", bytes(100))
        with pytest.raises(TooLarge, match="at most 99 are taken"):
            Source(source.name, None, Limits(max_image_bytes=99)).read()
        with pytest.raises(Unreadable, match="answered 404"):
            Source(f"{base}/gone.jpg").read()
    with pytest.raises(Unreadable):
        source.read()
