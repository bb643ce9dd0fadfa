"""What the importer of a stranger's set may do, and what is taken from it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lexiseg_model.files.sandbox import Limits
from lexiseg_service.errors import DeadlineExceeded, InvalidValue, ServiceError
from lexiseg_service.gateway.heads import reviewed_set
from tests.model.files.test_sandbox import needs_landlock

LIMITS = Limits(seconds=60, cpu_seconds=60, memory_bytes=2**30, file_bytes=2**20)
# In the place of the importer: makes a set of one picture, and does what the name of its source says.
STAND_IN = """
import json, os, pathlib, sys
from PIL import Image
source, folder = pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
for kind in ("images", "masks"):
    (folder / "train" / kind).mkdir(parents=True)
Image.new("RGB", (4, 3)).save(folder / "train/images/00000.jpg")
mask = Image.new("L", (4, 3))
mask.putpixel((0, 0), 1)
mask.putpixel((1, 0), 255)
mask.save(folder / "train/masks/00000.png")
classes, names = ["background", "mug"], {"train": ["a.jpg"]}
if source.name == "spins":
    while True: pass
if source.name == "hoards":
    hoard = bytearray(4 << 30)
if source.name == "raises":
    raise RuntimeError(f"in {source}")
if source.name == "refuses":
    sys.exit("lexiseg: it has no classes")
if source.name == "looks around":
    for path in (source.parent / "secret.txt", "/etc/passwd"):
        try:
            classes.append(open(path).read())
        except OSError as error:
            classes.append(type(error).__name__)
    classes.append(str("LEXISEG_REDIS_URL" in os.environ))
if source.name == "links":
    os.unlink(folder / "train/images/00000.jpg")
    os.symlink(source.parent / "secret.txt", folder / "train/images/00000.jpg")
if source.name == "names a folder above":
    names = {"../..": ["a.jpg"]}
if source.name == "has too many classes":
    classes += map(str, range(500))
if source.name == "has too many pictures":
    names["train"] *= 600
if source.name == "has no lists":
    classes = 7
(folder / "classes.json").write_text(json.dumps(classes))
(folder / "names.json").write_text(json.dumps(names))
report = {"warnings": ["1 is left out"]}
(folder / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture(autouse=True)
def importer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviewed_set, "PROGRAM", (sys.executable, "-c", STAND_IN))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


async def read(place: Path, what: str, limits: Limits = LIMITS) -> reviewed_set.ReviewedSet:
    """What is read of a source of that name."""
    source = place.parent / what
    source.touch()
    return await reviewed_set.read(source, place, limits)


async def test_a_picture_comes_with_a_mask_for_each_class_and_for_what_is_unknown(place: Path) -> None:
    reviewed = await read(place, "a set")

    (picture,) = reviewed.pictures
    assert reviewed.classes == ("mug",)
    assert (picture.key, picture.size, picture.jpeg[:2]) == ("a.jpg", (3, 4), b"\xff\xd8")
    assert [label for label, _ in picture.masks] == ["mug", None]
    assert reviewed.warnings == ("1 is left out",)


@needs_landlock
async def test_the_importer_sees_its_source_and_no_secret(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXISEG_REDIS_URL", "redis://:password@localhost/0")

    reviewed = await read(place, "looks around")

    assert reviewed.classes[0] == "mug"
    assert set(reviewed.classes[1:3]) <= {"PermissionError", "FileNotFoundError"}
    assert reviewed.classes[3:] == ("False",)


REFUSED = {
    "hoards": "reading it takes more memory or time than a set may",
    "raises": "it cannot be read as a set of pictures with labels",
    "refuses": "it has no classes",
    "links": "pictures with",  # Landlock refuses the link itself
    "names a folder above": "expected pictures with their labels",
    "has too many classes": "expected at most 128 of a head, got '501 classes'",
    "has too many pictures": "expected at most 500 of a head, got '600 pictures'",
    "has no lists": "expected pictures with their labels",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_set_is_refused_in_a_sentence_without_a_path(place: Path, what: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        await read(place, what)

    assert raised.value.detail.startswith("archive: ")
    assert REFUSED[what] in raised.value.detail
    assert str(place.parent) not in raised.value.detail


@pytest.mark.parametrize(
    ("limits", "kind"),
    [(replace(LIMITS, seconds=1.0), DeadlineExceeded), (replace(LIMITS, cpu_seconds=1), InvalidValue)],
    ids=["of a clock", "of a processor"],
)
async def test_an_importer_that_does_not_end_is_ended(place: Path, limits: Limits, kind: type[ServiceError]) -> None:
    with pytest.raises(kind):
        await read(place, "spins", limits)
