"""Public sets are downloaded, checked, and read in a sandbox; made-up archives of the published layouts are served."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from scipy.io import savemat

from lexiseg_model.errors import DatasetError
from lexiseg_train.commands.public_sets import _run_confined
from lexiseg_train.data.indexed import read_dataset
from lexiseg_train.data.licences import usable_photographs
from lexiseg_train.data.preparing import official
from lexiseg_train.data.preparing.downloads import download
from lexiseg_train.data.preparing.official import Archive, choose, official_set, prepare, read_words
from tests.http_server import Quiet, serving
from tests.model.files.test_sandbox import needs_landlock
from tests.service.commands.command_line import CommandLine
from tests.train.commands.conftest import lexiseg
from tests.train.data import trees
from tests.train.data.preparing.packed import pack_zip, tar
from tests.train.data.preparing.test_prepare import SIZE, bands, shown, stuff_downloads, write_voc2010

__all__ = ["lexiseg"]
CONTENT = np.random.default_rng(0).bytes(3 << 20)
BY = {"id": 4, "url": "http://creativecommons.org/licenses/by/2.0/"}
NC = {"id": 1, "url": "http://creativecommons.org/licenses/by-nc-sa/2.0/"}


class Ranges(Quiet):
    """Serves the files of a folder by ranges; `cut` ends each answer after so many bytes, `hold` then keeps it open."""

    def __init__(self, *args: object, folder: Path, asked: list[str | None], cut: int | None, tag: str) -> None:
        self.folder, self.asked, self.cut, self.tag = folder, asked, cut, tag
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        file = self.folder / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        content, wanted = file.read_bytes(), self.headers.get("Range")
        self.asked.append(wanted)
        begin = int(re.findall(r"\d+", wanted)[0]) if wanted and self.headers.get("If-Range") == self.tag else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", self.tag)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:] if self.cut is None else content[begin : begin + self.cut])


def server(
    folder: Path, asked: list[str | None] | None = None, cut: int | None = None, tag: str = '"1"'
) -> AbstractContextManager[str]:
    return serving(partial(Ranges, folder=folder, asked=[] if asked is None else asked, cut=cut, tag=tag))


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def published(tmp_path: Path) -> Archive:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.zip").write_bytes(CONTENT)
    return Archive(names=("a.zip",), size=len(CONTENT), digest=digest(CONTENT))


@pytest.mark.parametrize("cut", [1 << 20, 700_000])
def test_a_broken_connection_is_taken_up_where_it_broke(published: Archive, cut: int, tmp_path: Path) -> None:
    asked: list[str | None] = []
    with server(tmp_path / "web", asked, cut=cut) as address:
        path = download(published, tmp_path / "downloads", address)

    assert path.read_bytes() == CONTENT
    assert asked == [None, *(f"bytes={begin}-" for begin in range(cut, len(CONTENT), cut))]
    assert [each.name for each in path.parent.iterdir()] == ["a.zip"]


def test_a_download_that_was_killed_goes_on(published: Archive, tmp_path: Path) -> None:
    asked: list[str | None] = []
    part = tmp_path / "downloads" / "a.zip.part"
    killed = (
        "import os, sys; from pathlib import Path\n"
        "from lexiseg_train.data.preparing.downloads import download\n"
        "from lexiseg_train.data.preparing.official import Archive\n"
        "count = iter(range(3)); die = lambda _: next(count) == 2 and os.kill(os.getpid(), 9)\n"
        "download(Archive(names=('a.zip',)), Path(sys.argv[2]), sys.argv[1], die)\n"
    )
    with server(tmp_path / "web", asked) as address:
        dead = subprocess.run([sys.executable, "-c", killed, address, part.parent], check=False)
        begun = part.stat().st_size
        path = download(published, part.parent, address)

    assert dead.returncode == -9
    assert 0 < begun < len(CONTENT)
    assert asked == [None, f"bytes={begun}-"]
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(published: Archive, tmp_path: Path) -> None:
    part = tmp_path / "downloads" / "a.zip.part"
    part.parent.mkdir()
    part.write_bytes(b"of another edition")
    part.with_suffix(".tag").write_text('"0"')

    with server(tmp_path / "web") as address:
        path = download(published, part.parent, address)

    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": digest(b"")}, "it is not the published archive, and was removed"),
        ({"size": 100}, "has more than 100 bytes"),
        ({"size": len(CONTENT) + 1}, "has 3,145,728 bytes, not 3,145,729: it is not the published"),
        ({"names": ("b.zip",)}, "answers 404; --mirror names another place"),
        ({"size": None, "digest": None}, "has 3,145,728 bytes, which are no zip or not all of it"),
    ],
)
def test_what_is_not_the_published_archive_is_refused(
    published: Archive, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with (
        server(tmp_path / "web") as address,
        pytest.raises(DatasetError, match=message),
    ):
        download(published.model_copy(update=changes), tmp_path / "downloads", address)

    assert not (tmp_path / "downloads" / "a.zip").exists()


def test_a_server_that_is_away_is_named(published: Archive, tmp_path: Path) -> None:
    with server(tmp_path / "web") as address:
        pass

    with pytest.raises(DatasetError, match=r"ConnectError.*start again to go on at byte 0"):
        download(published, tmp_path / "downloads", address)


def coco_terms(folder: Path, licences: dict[str, int]) -> None:
    """`annotations_trainval2017.zip` of photographs and their licences."""
    content = {
        "licenses": [BY, NC],
        "images": [{"id": int(name), "file_name": f"{name}.jpg", "license": each} for name, each in licences.items()],
    }
    with zipfile.ZipFile(folder / "annotations_trainval2017.zip", "w") as archive:
        for split in ("train", "val"):
            archive.writestr(f"annotations/instances_{split}2017.json", json.dumps(content))


@pytest.fixture
def unpublished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Official sets whose archives may be made up: without sizes and digests."""
    text = official.FILE.read_text()
    file = tmp_path / "official.yaml"
    file.write_text(re.sub(r"^ +(size|digest): .*\n", "", text, flags=re.MULTILINE))
    official.official_sets.cache_clear()
    official._content.cache_clear()
    monkeypatch.setattr(official, "FILE", file)
    yield
    official.official_sets.cache_clear()
    official._content.cache_clear()


def test_a_set_is_fetched_in_ones_own_words_with_its_licences(
    unpublished: None, lexiseg: CommandLine, tmp_path: Path
) -> None:
    # A person, window-other, building-other; the second photograph is not for companies.
    web = stuff_downloads(tmp_path, {"000000000139": bands(0, 180, 95, 255), "000000000285": bands(0, 0, 0, 0)})
    pack_zip(tmp_path / "tree/coco_stuff164k/nothing", web / "train2017.zip")
    coco_terms(web, {"000000000139": 4, "000000000285": 1})
    words = tmp_path / "words.yaml"
    words.write_text("{house: [window, building], person: person}")

    with server(web) as address:
        outcome = lexiseg("data", "fetch", "coco-stuff", tmp_path / "sets", "--words", words, "--mirror", address)

    assert outcome.status == 0
    assert shown(tmp_path / "sets", "coco-stuff") == ["person", "house", "house", 255]
    assert usable_photographs(tmp_path / "sets", ["coco-stuff"]) == {"coco-stuff": {"000000000139"}}
    assert (tmp_path / "sets/coco-stuff/LICENCE").read_text().startswith("annotations: CC BY 4.0 (COCO, COCO-Stuff)")


@needs_landlock
def test_what_reads_a_fetched_archive_sees_the_folder_of_the_sets_alone(tmp_path: Path) -> None:
    trees.write_voc(tmp_path / "elsewhere", {"2007_000033": bands(0, 1, 20, 255)})
    trees.write_voc(tmp_path / "sets" / "downloads", {"2007_000033": bands(0, 1, 20, 255)})
    target = tmp_path / "sets"

    outside = _run_confined(target, None, ["prepare", "voc2012", str(tmp_path / "elsewhere"), str(target)])
    inside = _run_confined(target, None, ["prepare", "voc2012", str(target / "downloads"), str(target)])

    assert (outside, inside) == (1, 0)
    assert shown(target, "voc") == ["background", "airplane", "tv monitor", 255]


FRONT = "mandarin orange"


def lvis(folder: Path) -> Path:
    """LVIS' archives with a banana and, in front of it, an orange."""
    photograph = {"id": 139, "height": SIZE[0], "width": SIZE[1], "coco_url": "http://x/val2017/000000000139.jpg"}
    outline = [[0, 0, 40, 0, 40, 16, 0, 16]]
    names = official_set("lvis").classes
    entries = [
        {"id": n, "image_id": 139, "category_id": names.index(name) + 1, "area": 1 + n, "bbox": [0, 0, 40, 16],
         "segmentation": outline, "iscrowd": 0}
        for n, name in enumerate((FRONT, "banana"))
    ]  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"images": [photograph], "annotations": entries, "categories": categories}
    trees.write_photograph(folder / "tree/val2017/000000000139.jpg", SIZE)
    pack_zip(folder / "tree", folder / "web" / "val2017.zip")
    with zipfile.ZipFile(folder / "web" / "lvis_v1_val.json.zip", "w") as archive:
        archive.writestr("lvis_v1_val.json", json.dumps(content))
    coco_terms(folder / "web", {"000000000139": 4})
    return folder / "web"


def test_lvis_is_read_in_a_few_words_and_its_photographs_are_known_to_cocos_terms(tmp_path: Path) -> None:
    web = lvis(tmp_path)

    with pytest.raises(DatasetError, match=r"has 1,203 classes, a mask holds 254: name some with --words"):
        prepare(official_set("lvis"), web, tmp_path / "sets", False)
    prepare(official_set("lvis"), web, tmp_path / "sets", False, words={"citrus": (FRONT, "lemon")})

    assert shown(tmp_path / "sets", "lvis") == ["citrus", "citrus", 255, 255]
    assert usable_photographs(tmp_path / "sets", ["lvis"]) == {"lvis": {"000000000139"}}


def cells(*entries: dict[str, object]) -> NDArray[np.object_]:
    """A row of MATLAB's structs, each in a cell of its own shape."""
    row = np.zeros((1, len(entries)), [(name, object) for name in entries[0]])
    for place, entry in enumerate(entries):
        for name, value in entry.items():
            row[name][0, place] = value
    return row


def part(name: str, top: int, bottom: int) -> dict[str, object]:
    return {"part_name": name, "mask": rows(top, bottom)}


def rows(top: int, bottom: int) -> NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom] = 1
    return mask


def test_pascal_part_becomes_parts_of_objects(tmp_path: Path) -> None:
    write_voc2010(tmp_path / "tree", {"2008_000002": "train", "2008_000075": "val"})
    tar(tmp_path / "tree", tmp_path / "web" / "VOCtrainval_03-May-2010.tar")
    stored = tmp_path / "parts" / "Annotations_Part"
    stored.mkdir(parents=True)
    none = np.zeros((0, 0))
    dog = {
        "class": "dog",
        "class_ind": 12,
        "mask": rows(0, 24),
        "parts": cells(part("head", 0, 16), part("leye", 8, 16)),
    }
    plane = {"class": "aeroplane", "class_ind": 1, "mask": rows(16, 24), "parts": cells(part("wheel_2", 16, 24))}
    boat = {"class": "boat", "class_ind": 4, "mask": rows(24, 32), "parts": none}
    for name in ("2008_000002", "2008_000075"):
        savemat(stored / f"{name}.mat", {"anno": cells({"imname": name, "objects": cells(dog, plane, boat)})})
    (stored / "2008_000099.mat").write_bytes(b"MATLAB 5.0 MAT-file" + os.urandom(200))
    tar(tmp_path / "parts", tmp_path / "web" / "trainval.tar.gz")

    prepared = prepare(official_set("pascal-part"), tmp_path / "web", tmp_path / "sets", False)

    assert shown(tmp_path / "sets", "pascal-part") == ["dog's head", "dog's eye", "airplane's wheel", "boat"]
    assert prepared.splits == {"train": 1, "val": 1}
    assert read_dataset(tmp_path / "sets", "pascal-part", "train").classes == official_set("pascal-part").classes


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "dog\n\ncat \n", {"dog": ("dog",), "cat": ("cat",)}),
        ("a.json", '["dog", "background"]', {"background": ("background",), "dog": ("dog",)}),
        ("a.yaml", "{pet: [dog, cat], no: fish}", {"pet": ("dog", "cat"), "no": ("fish",)}),
    ],
)
def test_words_are_read_as_people_list_them(
    tmp_path: Path, name: str, text: str, words: dict[str, tuple[str, ...]]
) -> None:
    (tmp_path / name).write_text(text)

    assert read_words(tmp_path / name) == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"dog": ("dogs",)}, "ours has no class 'dogs'; did you mean 'dog'"),
        ({"a": ("dog",), "b": ("Dog",)}, "'Dog' is of two words, 'a' and 'b'"),
    ],
)
def test_words_that_do_not_fit_a_set_are_refused(words: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        choose("ours", ["dog", "cat"], words)


def test_sets_that_are_fetched_have_all_addresses_and_a_licence() -> None:
    fetched = {name for name, entry in official.official_sets().items() if entry.is_fetched}

    assert fetched == {"ade20k", "coco-object", "coco-stuff", "lvis", "pascal-part"}
    assert all(official_set(name).licence for name in fetched)
    assert yaml.safe_load(official.FILE.read_text())["sets"]["lvis"]["terms"]
