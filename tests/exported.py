"""What `lexiseg export --model tiny --int8 --photos` writes, made once for a run of the tests."""

from pathlib import Path
from typing import NamedTuple

from tests import once, pictures
from tests.command import start


class Exported(NamedTuple):
    """Shared: never write into it."""

    cache: Path  # of the user for whom the command ran
    output: str

    @property
    def folder(self) -> Path:
        """The graphs and their manifest."""
        (folder,) = (self.cache / "lexiseg" / "onnx").iterdir()
        return folder


def tiny() -> Exported:
    """An export to float32 and 8 bits, by the ranges of four small photographs."""
    made = once.made("tiny-onnx", _export)
    return Exported(made / "cache", (made / "output.txt").read_text())


def _export(folder: Path) -> None:
    """Run the command on four photographs, one of them turned by its EXIF entry, and a file that is none."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for name in ("china", "chelsea", "coffee"):
        pictures.small(name, 160).save(photos / f"{name}.jpg")
    (photos / "rocket.jpg").write_bytes(pictures.turned(pictures.small("rocket", 160), 6, "JPEG"))
    (photos / "notes.txt").write_text("no picture")
    words = ("export", "--model", "tiny", "--int8", "--photos", str(photos))
    environment = {"XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "120"}
    with start(words, environment, folder / "errors.txt") as process:
        output = process.communicate()[0]
    assert process.returncode == 0, (folder / "errors.txt").read_text()
    (folder / "output.txt").write_text(output)
