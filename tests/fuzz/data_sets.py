"""Data sets that a client may send: a small one of each layout, and one of each way to attack their reader."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from tests.fuzz.targets import ARCHIVES, NEXT_FILE


def _png(mode: str, colour: Any) -> bytes:
    content = io.BytesIO()
    Image.new(mode, (16, 16), colour).save(content, "PNG")
    return content.getvalue()


Files = Mapping[str, str | bytes]
PICTURE, MASK = _png("RGB", (200, 30, 30)), _png("L", 1)
PLAIN: Files = {"classes.json": '["background", "a"]', "images/a.png": PICTURE, "masks/a.png": MASK}
OUTLINE: dict[str, Any] = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
RUNS = {**OUTLINE, "segmentation": {"size": [16, 16], "counts": [0, 2**40]}}
ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
WORDS = "../private/words.txt"  # beside the set, where the target puts a secret


def data_sets() -> Iterator[tuple[str, bytes]]:
    """All of them, by name."""
    yield "masks", _files(PLAIN)
    yield "yolo", _yolo("train: images\nnames: [a]\n")
    yield "coco", _coco("a.png")
    yield "labelme", _labelme("a.png")
    yield "label studio", _label_studio(10)
    yield "datumaro", _datumaro([1, 1, 9, 1, 9, 9])
    yield "zip", _zip(PLAIN)
    yield "no readable picture", _files({**PLAIN, "images/a.png": b"no picture"})
    yield from _hostile_yolo()
    yield from _hostile_json()
    yield from _hostile_archives()


def _hostile_yolo() -> Iterator[tuple[str, bytes]]:
    yield "environment", _yolo("path: /proc/self\ntrain: environ\nnames: [a]\n")
    yield "passwords", _yolo("path: /etc\ntrain: passwd\nnames: [a]\n")
    yield "above", _yolo("path: ..\ntrain: private/words.txt\nnames: [a]\n")
    yield "list above", _yolo("train: t.txt\nnames: [a]\n", **{"t.txt": f"{WORDS}\n/etc/passwd\n"})
    yield "aliases", _yolo(f"a0: &a0 [x, x]\n{ALIASES}names: *a8\ntrain: images\n")
    yield "merge keys", _yolo("a: &a {b: 1}\nnames: {<<: *a}\ntrain: images\n")
    yield "python tag", _yolo("names: !!python/object/apply:os.getcwd []\ntrain: images\n")
    yield "nested yaml", _yolo(f"names: {'[' * 900}\n")


def _hostile_json() -> Iterator[tuple[str, bytes]]:
    yield "nested json", _files({"a.json": "[" * 1500, "a.png": PICTURE})
    yield "coco above", _coco(WORDS)
    yield "coco after normalising", _coco("images/../../private/words.txt")
    yield "coco of a line feed", _coco("a\nlexiseg: done.png")
    yield "coco nan", _coco("a.png", width=float("nan"))
    yield "coco huge", _coco("a.png", width=10**12, height=10**12)
    yield "coco runs", _coco("a.png", RUNS)
    yield "labelme above", _labelme(WORDS)
    yield "labelme with data", _labelme("b.png", "iVBORw0KGgo=")
    yield "label studio beyond", _label_studio(1e300)
    yield "label studio of a brush", _label_studio([255] * 9)
    yield "datumaro of half a corner", _datumaro([1, 1, 9])


def _hostile_archives() -> Iterator[tuple[str, bytes]]:
    yield "zip above", _zip({WORDS: "x", **PLAIN})
    yield "zip of links", _zip(PLAIN, {"images/b.png": "../../private/words.txt", "masks/b.png": "/etc/passwd"})
    yield "zip of names", _zip({"a\nb.png": PICTURE, "C:\\a.png": PICTURE, "x/" * 70 + "a.png": PICTURE, **PLAIN})
    moved = _zip(PLAIN)
    further = int.from_bytes(moved[-6:-2], "little") + 1000  # where its directory is said to be
    yield "zip of negative offsets", moved[:-6] + further.to_bytes(4, "little") + moved[-2:]
    yield (
        "tar of links",
        _tar(
            ("classes.json", tarfile.REGTYPE, '["a"]'),
            ("images", tarfile.SYMTYPE, "/etc"),
            ("images/passwd", tarfile.REGTYPE, "x"),
            ("masks/a.png", tarfile.LNKTYPE, WORDS),
            ("null", tarfile.CHRTYPE, ""),
        ),
    )


def _files(files: Files) -> bytes:
    parts = (f"{name}\n".encode() + (text.encode() if isinstance(text, str) else text) for name, text in files.items())
    return NEXT_FILE.join(parts)


def _yolo(text: str, **more: str | bytes) -> bytes:
    return _files({"data.yaml": text, "images/a.png": PICTURE, "labels/a.txt": "0 .1 .1 .5 .1 .5 .5\n", **more})


def _coco(name: str, annotation: Mapping[str, Any] = OUTLINE, **changes: Any) -> bytes:
    listed = {"id": 1, "file_name": name, "width": 16, "height": 16} | changes
    content = {"images": [listed], "annotations": [annotation], "categories": [{"id": 1, "name": "a"}]}
    return _files({"a.json": json.dumps(content), "a.png": PICTURE})


def _labelme(name: str, data: str | None = None) -> bytes:
    shape = {"label": "a", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    content = {"imagePath": name, "imageData": data, "imageHeight": 16, "imageWidth": 16, "shapes": [shape]}
    return _files({"a.json": json.dumps(content), "a.png": PICTURE})


def _label_studio(value: Any) -> bytes:
    kind: str = "polygonlabels"
    mark: dict[str, Any] = {"points": [[0, 0], [value, 0], [9, 9]]}
    if isinstance(value, list):
        kind, mark = "brushlabels", {"format": "rle", "rle": value}
    result = {"type": kind, "value": {**mark, kind: ["a"]}, "original_width": 16, "original_height": 16}
    task = {"data": {"image": "/data/local-files/?d=a.png"}, "annotations": [{"result": [result]}]}
    return _files({"a.json": json.dumps([task]), "a.png": PICTURE})


def _datumaro(points: list[int]) -> bytes:
    annotation = {"type": "polygon", "label_id": 0, "points": points}
    item = {"id": "a", "annotations": [annotation], "image": {"path": "a.png", "size": [16, 16]}}
    content = {"categories": {"label": {"labels": [{"name": "a"}]}}, "items": [item]}
    return _files({"a.json": json.dumps(content), "a.png": PICTURE})


def _zip(files: Files, links: Mapping[str, str] | None = None) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
        for name, target in (links or {}).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, target)
    return content.getvalue()


def _tar(*entries: tuple[str, bytes, str]) -> bytes:
    """A tar after its first line, of entries: name, type, and content or what it links to."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, kind, text in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(text)
            else:
                entry.linkname = text
            archive.addfile(entry, io.BytesIO(text.encode()))
    return ARCHIVES[1] + content.getvalue().rstrip(b"\0") + bytes(1024)
