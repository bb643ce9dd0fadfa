"""Which layout a set has, and its pictures: annotations of a tool, or masks; perhaps in one folder of the set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_train.data.annotations.content import some_of
from lexiseg_train.data.annotations.cvat import in_cvat, is_cvat
from lexiseg_train.data.annotations.labelme import is_labelme, read_labelme
from lexiseg_train.data.annotations.listings import in_datumaro, in_label_studio, is_datumaro, is_label_studio
from lexiseg_train.data.annotations.shapes import read_listed
from lexiseg_train.data.annotations.yolo import read_yolo, yolo_listing
from lexiseg_train.data.files.documents import LimitError, read_json
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.own.coco import listings, read_coco
from lexiseg_train.data.own.drawn import Part, drawn_pictures
from lexiseg_train.data.own.pictures import OwnPictures, read_folders

MAX_SEEN, MAX_HEAD = 100, 4096  # files, and bytes of each, that are looked at for a message
PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
MAX_AROUND = 3  # folders around a set
MAX_FOLDERS = 32  # of a level, that are looked into
# Layouts of which one file lists the photographs with their shapes: name, suffix, whether a file is one, its content.
LISTED = (
    ("CVAT", ".xml", is_cvat, in_cvat),
    ("Label Studio", ".json", is_label_studio, in_label_studio),
    ("Datumaro", ".json", is_datumaro, in_datumaro),
)
LAYOUT = (
    "expected COCO's JSON (*.json with images, annotations and categories) beside its photographs (in Label Studio\n"
    "export as COCO, in CVAT as COCO 1.0), YOLO's data.yaml with images and labels, Labelme's JSON beside each\n"
    "photograph, CVAT's XML of images, the JSON of Label Studio's tasks or of Datumaro, or\n"
    "  classes.json        the class names; index = mask value\n"
    "  images/NAME.jpg     photographs\n"
    "  masks/NAME.png      masks of the same size, 255 = ignore\n"
    "or the last two in train/ and val/"
)


def read_own(folder: Path, root: Path | None = None) -> OwnPictures:
    """The pictures of a folder in one of the layouts, or of the one folder in it that has one.

    Args:
        folder: of the set.
        root: a folder above, inside which the set may name files; None: what it names outside itself is not read.

    Raises:
        DatasetError: it has none of the layouts, several sets, or a part is missing.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; {LAYOUT}")
    level = [SetFiles(folder, root)]
    for _ in range(MAX_AROUND + 1):
        if found := [pictures for files in level if (pictures := _read(files)) is not None]:
            if len(found) > 1:
                named = ", ".join(each.folder.name for each in found[:MAX_AROUND])
                raise DatasetError(f"{folder} holds {len(found)} sets, such as {named}: expected one")
            return found[0]
        places = [files.folder / name for files in level for name in files.folders()]
        level = [SetFiles(place, root or folder) for place in places[:MAX_FOLDERS]]
    raise DatasetError(as_text(f"{folder} has no pictures in a known layout{_of_a_tool(folder, root)}; {LAYOUT}"))


def _read(files: SetFiles) -> OwnPictures | None:
    """The pictures of a set; None: it has no layout that is known. Raises DatasetError: a part of it is missing."""
    pictures = _of_annotations(files) or read_folders(files)
    if pictures is None:
        return None
    return pictures.warned(files.links_sentence())


def _of_annotations(files: SetFiles) -> OwnPictures | None:
    if paths := listings(files):
        return replace(read_coco(files, paths), layout="COCO")
    if (listing := yolo_listing(files)) is not None:
        splits = read_yolo(listing, files)
        pictures = drawn_pictures(files, [Part(listing, part, split == "val") for split, part in splits.items()])
        return replace(pictures, layout="YOLO")
    if shapes := [path for path in files if path.suffix.lower() == ".json" and is_labelme(path)]:
        pictures = drawn_pictures(files, [Part(files.folder / "*.json", read_labelme(shapes, files), held_out=False)])
        return _with_unreadable(replace(pictures, layout="Labelme"), files)
    for layout, suffix, is_of, listed in LISTED:
        if paths := [path for path in files if path.suffix.lower() == suffix and is_of(path)][:MAX_SEEN]:
            parts = [Part(path, read_listed(path, listed(path), files), held_out=False) for path in paths]
            return replace(drawn_pictures(files, parts), layout=layout)
    return None


def _with_unreadable(pictures: OwnPictures, files: SetFiles) -> OwnPictures:
    """The pictures of a set of a JSON for each, with those that cannot be read among what is left out."""
    faults = []
    for path in files:
        if path.suffix.lower() == ".json":
            try:
                read_json(path)
            except DatasetError as error:
                faults.append(as_text(str(error)))
    sentence = (f"{len(faults)} JSON files cannot be read: {some_of(faults)}",) if faults else ()
    return replace(pictures.warned(sentence), left_out=(*pictures.left_out, *faults))


def _of_a_tool(folder: Path, root: Path | None) -> str:
    """A word on annotations that a folder has in a format that is not read."""
    listed = [path for path in SetFiles(folder, root) if path.suffix.lower() in (".xml", ".json", *PACKED)]
    for path in listed[:MAX_SEEN]:
        if path.suffix.lower() in PACKED:
            return f", and {path} is packed: unpack it, or name it"
        with path.open("rb") as file:
            head = file.read(MAX_HEAD)
        for words, name in ((b"<track", "CVAT's XML of a video"), (b"<annotation>", "VOC's XML of boxes")):
            if words in head:
                return f", and {path} is {name}, which is not read: export as COCO"
        if path.suffix.lower() == ".json":
            try:
                what = "is a JSON of another format" if _is_whole(path) else "is no whole JSON; it may be cut off"
            except LimitError as error:
                return f", and {error}"
            return f", and {path} {what}: export as COCO"
    return ""


def _is_whole(path: Path) -> bool:
    """Whether a file is valid JSON. Raises LimitError: it is not read."""
    try:
        read_json(path)
    except LimitError:
        raise
    except DatasetError:
        return False
    return True
