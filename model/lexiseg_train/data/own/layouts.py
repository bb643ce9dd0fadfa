"""Which layout a set has, and its pictures: annotations of a tool, or masks; perhaps in one folder of the set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.annotations import AnnotatedImage, Annotation, Id, unknown_pixels
from lexiseg_labels.data_set import REVIEWED_LIST
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.exports import formats
from lexiseg_labels.formats import labelme
from lexiseg_labels.formats.marks import Listed, is_listed, reviewed_names
from lexiseg_labels.formats.yolo import LISTINGS
from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.errors import DatasetError
from lexiseg_model.files.names import as_text
from lexiseg_model.masks.rle import decode
from lexiseg_model.vocabulary.class_names import BACKGROUND, folded
from lexiseg_train.data.annotations.coco import is_coco, read_coco
from lexiseg_train.data.annotations.drawing import draw
from lexiseg_train.data.annotations.listed import (
    LabelFile,
    in_cvat,
    in_labelme,
    read_listed,
    some_of,
    with_own_photographs,
)
from lexiseg_train.data.annotations.yolo import lines_of_no_picture, read_yolo, yolo_listing
from lexiseg_train.data.files.documents import MAX_CLASSES, LimitError, read_json, read_text
from lexiseg_train.data.files.inside import SetFiles
from lexiseg_train.data.indexed import CLASSES, IGNORE
from lexiseg_train.data.own.masks import OwnPictures, Picture, left_out_unreviewed, pairs_below, read_folders

MAX_HEAD = 1 << 16  # bytes of an XML that tell what it is
PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
MAX_AROUND = 3  # folders around a set
MAX_FOLDERS = 32  # of a level, that are looked into
OF_JSON = {kind.title: kind.pictures_of for kind in formats().values() if kind.pictures_of is not None}
UNREAD = "labels that are not read, and are left out"
MASKS = "masks alone, which are not read beside other labels: import them as a set of their own"
EMPTY = "no annotation: all is background; take out what nobody has labelled"
# In the order in which they count where several label one photograph.
LAYOUTS = ("COCO", "YOLO", "Labelme", "CVAT", *OF_JSON)
VOC_BOXES = "VOC's XML of boxes"
ORPHANS, UNKNOWN_FORMAT = "YOLO's lines of no picture", "of another format"
NOT_READ = (VOC_BOXES, ORPHANS, UNKNOWN_FORMAT)
# Of a GIS about pictures that it has opened, and lists of classes, as Label Studio writes them for YOLO.
NO_LABELS = "notes"
LISTS = ("notes.json", CLASSES)
# By words near the start.
XML_KINDS = {b"<annotation>": VOC_BOXES, b"<annotations": "CVAT", b"<PAMDataset": NO_LABELS, b"<metadata": NO_LABELS}
LAYOUT = (
    "expected COCO's JSON (*.json with images, annotations and categories) beside its photographs (in Label Studio\n"
    "export as COCO, in CVAT as COCO 1.0), YOLO's data.yaml with images and labels, Labelme's JSON beside each\n"
    "photograph, CVAT's XML of images or of a video beside it, the JSON of Label Studio's tasks or of Datumaro, or\n"
    "  classes.json        the class names; index = mask value\n"
    "  images/NAME.jpg     photographs\n"
    "  masks/NAME.png      masks of the same size, 255 = ignore\n"
    "or the last two in train/ and val/"
)


def read_own(source: Path, root: Path | None = None) -> OwnPictures:
    """The pictures of a folder, or of the one folder in it that has a layout; inside `root` the set may name files."""
    folder, listing = (source.parent, source) if source.is_file() else (source, None)
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; {LAYOUT}")
    level = [SetFiles(folder, root)]
    reviewed = _reviewed_names(level[0])
    for _ in range(MAX_AROUND + 1):
        if sets := [pictures for files in level if (pictures := _read(files, listing, reviewed)) is not None]:
            if len(sets) > 1:
                named = ", ".join(each.folder.name for each in sets[:MAX_AROUND])
                raise DatasetError(f"{folder} holds {len(sets)} sets, such as {named}: expected one")
            return sets[0]
        places = [files.folder / name for files in level for name in files.folders() if listing is None]
        level = [SetFiles(place, root or folder) for place in places[:MAX_FOLDERS]]
    where = f"{source} has no pictures in a known layout"
    raise DatasetError(as_text(f"{where}{_of_a_tool(SetFiles(folder, root), listing)}; {LAYOUT}"))


def _reviewed_names(files: SetFiles) -> frozenset[str] | None:
    """The photographs that the list in a folder names as reviewed; None: it has no such list."""
    path = files.file(REVIEWED_LIST)
    labels_of = any(each.stem == Path(REVIEWED_LIST).stem and is_picture_name(each) for each in files.in_folder("."))
    return None if path is None or labels_of else reviewed_names(read_text(path))


def _read(files: SetFiles, listing: Path | None, reviewed: frozenset[str] | None) -> OwnPictures | None:
    """The pictures of a set; None: it has no layout that is known. Raises DatasetError: a part of it is missing."""
    names = _reviewed_names(files)
    reviewed = reviewed if names is None else names
    pictures = _of_annotations(files, listing, reviewed)
    if pictures is None and listing is None:
        pictures = read_folders(files, reviewed)
    return None if pictures is None else pictures.warned(files.links_sentence())


def _of_annotations(files: SetFiles, listing: Path | None, reviewed: frozenset[str] | None) -> OwnPictures | None:
    """The pictures of all layouts of annotations; of a picture that several label, as the first of them has it."""
    by_layout, unreadable = _by_layout(files, listing)
    parts: list[LabelFile] = []
    faults: list[DatasetError] = []
    used: list[str] = []
    for layout in LAYOUTS:
        entries = [(image, part) for part in parts for image in part.images]
        labelled = frozenset(
            part.photographs[image.file_name]
            for image, part in entries
            if image.annotations or image.reviewed is not None
        )
        try:
            more = _parts(layout, files, by_layout[layout], labelled) if by_layout[layout] else []
        except LimitError:
            raise
        except DatasetError as error:
            faults.append(error)
            continue
        if any(part.images or part.unusable for part in more):
            parts += more
            used.append(layout)
    if not parts:
        if faults:
            raise faults[0]
        return None
    parts = [*with_own_photographs(parts, files)]
    warnings = [f"{fault}; it is not used" for fault in faults]
    for kind in NOT_READ:
        if others := by_layout[kind]:
            warnings.append(f"not read, as {kind}: {len(others)}, such as {others[0]}")
    if unreadable:
        warnings.append(f"JSON that cannot be read: {len(unreadable)}: {some_of([*unreadable.values()])}")
    unread = [path for kind in NOT_READ for path in by_layout[kind]]
    pictures = _drawn_pictures(files, parts, [*unread, *unreadable], reviewed, warnings)
    return replace(pictures, layout=", ".join(used), left_out=(*pictures.left_out, *unreadable.values()))


def _by_layout(files: SetFiles, listing: Path | None) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """The files of labels by layout, or by what they are that is not read; and why JSON files cannot be read."""
    by_layout: dict[str, list[Path]] = {kind: [] for kind in (*LAYOUTS, *NOT_READ, NO_LABELS)}
    unreadable = {}
    for path in files if listing is None else [listing]:
        if path.suffix.lower() == ".xml":
            by_layout[_xml_kind(path)].append(path)
        elif path.suffix.lower() == ".json":
            try:
                layout = _json_layout(read_json(path))
                by_layout[NO_LABELS if layout == UNKNOWN_FORMAT and path.name in LISTS else layout].append(path)
            except DatasetError as error:
                unreadable[path] = as_text(str(error))
    yolo = yolo_listing(files) if listing is None else listing if listing.suffix.lower() in LISTINGS else None
    if yolo is not None:
        by_layout["YOLO"].append(yolo)
        by_layout[ORPHANS] = lines_of_no_picture(files)
    return by_layout, unreadable


def _xml_kind(path: Path) -> str:
    """What an XML is, by its first bytes."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(MAX_HEAD).replace(b"\0", b"")  # of UTF-16
        return next((kind for words, kind in XML_KINDS.items() if words in head), UNKNOWN_FORMAT)
    return UNKNOWN_FORMAT


def _json_layout(content: object) -> str:
    if is_coco(content):
        return "COCO"
    readers: dict[str, Callable[[object], object]] = {"Labelme": partial(labelme.picture_of, file=""), **OF_JSON}
    for layout, check in readers.items():
        with suppress(UnreadableLabels):
            check(content)
            return layout
    return UNKNOWN_FORMAT


def _parts(layout: str, files: SetFiles, paths: Sequence[Path], labelled: frozenset[Path]) -> list[LabelFile]:
    if layout == "YOLO":
        return read_yolo(paths[0], files, labelled)
    if layout == "Labelme":
        return [read_listed(files.folder / "*.json", in_labelme(paths, files), files, files.folder, labelled)]

    def listed(path: Path) -> Iterable[Listed]:
        return in_cvat(path) if layout == "CVAT" else OF_JSON[layout](read_json(path))

    if layout == "COCO":
        parts = read_coco(files, paths)
    else:
        parts = [read_listed(path, listed(path), files, path, labelled) for path in paths]
    if layout == "Label Studio":
        return parts
    return [part._replace(bare={image.file_name for image in part.images if not image.annotations}) for part in parts]


class _Entry(NamedTuple):
    file: Path
    image: AnnotatedImage
    part: LabelFile


def _drawn_pictures(
    files: SetFiles,
    parts: Sequence[LabelFile],
    unread: Sequence[Path],
    reviewed: frozenset[str] | None,
    warnings: Sequence[str],
) -> OwnPictures:
    """The photographs of listings. Categories without an annotation are no classes.

    A pixel has a class, is background, or is unknown. The mask in front counts, of equals the smaller. A photograph
    without a mark is left out where a file of `unread` labels has its name.
    """
    entries = [_Entry(part.photographs[image.file_name], image, part) for part in parts for image in part.images]
    labelled = {entry.file for entry in entries if entry.image.annotations or entry.image.reviewed}
    listed_bare = dict.fromkeys(entry.file for entry in entries if entry.image.file_name in entry.part.bare)
    bare, names = [file for file in listed_bare if file not in labelled], {path.stem for path in unread}
    counted = {file for part in parts for file in part.left_out}
    masked = dict.fromkeys(image for image, mask in pairs_below(files) if mask is not None)
    n_files = len(masked | dict.fromkeys(entry.file for entry in entries))
    not_read = [file for file in bare if file in counted or file in masked or names & {file.stem, file.name}]
    entries = [entry for entry in entries if entry.file not in not_read]
    not_read = [file for file in not_read if file not in counted]
    marks: dict[Path, bool | None] = {}
    for file, image, _ in entries:
        listed = None if reviewed is None else is_listed(files.place_of(file), reviewed)
        mark = listed if image.reviewed is None else image.reviewed
        marks[file] = mark if marks.get(file) is None else marks[file] or bool(mark)
    left_out, unreviewed_note = left_out_unreviewed(files, marks)
    used = marks.keys() - left_out
    entries = [entry for entry in entries if entry.file in used]
    class_of, respelled = _classes(entries)
    sentences = [*warnings, *(each for part in parts for each in _sentences(part)), *unreviewed_note, *respelled]
    empty = [file for file in bare if file in used]
    for some, what in ((not_read, UNREAD), (empty, EMPTY), ([each for each in masked if each not in marks], MASKS)):
        count = f"{len(some)} of {n_files} photographs in {files.folder}"
        sentences += [f"{count}, such as {files.place_of(some[0])}, have {what}"] if some else []
    classes = (BACKGROUND, *dict.fromkeys(class_of.values()))
    if not 1 < len(classes) <= MAX_CLASSES + 1:
        more = "".join(f"\n  {sentence}" for sentence in sentences)
        raise DatasetError(
            f"{files.folder}: {len(classes) - 1} categories have annotations; expected 1 to {MAX_CLASSES}{more}"
        )
    values = {name: classes.index(each) for name, each in class_of.items()} | {BACKGROUND: 0}
    train = _pictures([entry for entry in entries if not entry.part.held_out], values)
    held_out = _pictures([entry for entry in entries if entry.part.held_out], values)
    unusable = [*dict.fromkeys(each for part in parts for each in part.unusable)]
    unusable += [f"{files.place_of(file)}: not reviewed" for file in left_out]
    unusable += [f"{files.place_of(file)}: its labels are not read" for file in not_read]
    return OwnPictures(files.folder, classes, train, held_out, tuple(sentences), tuple(unusable))


def _classes(entries: Sequence[_Entry]) -> tuple[dict[str, str], list[str]]:
    """Classes by the names of categories that have annotations, and sentences about names that differ in capitals."""
    used: dict[int, set[Id | None]] = {}
    parts = {id(entry.part): entry.part for entry in entries}
    for entry in entries:
        used.setdefault(id(entry.part), set()).update(each.category for each in entry.image.annotations)
    names = [name for key, part in parts.items() for each, name in part.categories.items() if each in used[key]]
    by_folded: dict[str, str] = {}
    class_of = {name: by_folded.setdefault(folded(name), name) for name in names if name != BACKGROUND}
    return class_of, [
        f"{name!r} counts as {spelled!r}, from which it differs in capitals" for name, spelled in class_of.items()
        if name != spelled
    ]  # fmt: skip


def _sentences(part: LabelFile) -> list[str]:
    sentences = [*part.warnings]
    if part.n_groups:
        sentences.append(f"{part.n_groups} annotations in {part.listing} are crowds (iscrowd), their pixels ignored")
    if count := sum(unknown_pixels(image.size) in image.annotations for image in part.images):
        where = f"{count} of {len(part.images)} photographs in {part.listing}"
        sentences.append(as_text(f"{where} have an annotation of unknown place: what no other explains is ignored"))
    return sentences


def _pictures(entries: Sequence[_Entry], values: Mapping[str, int]) -> tuple[Picture, ...]:
    """The photographs with their masks; those of one file are one, with the masks of all; `values` by their names."""
    drawings: dict[tuple[Path, tuple[int, int]], list[tuple[Annotation, int]]] = {}
    for file, image, part in entries:
        names = part.categories
        drawings.setdefault((file, image.size), []).extend(
            (each, IGNORE if each.ignored or each.category is None else values[names[each.category]])
            for each in image.annotations
        )
    return tuple(Picture(file, partial(_draw_mask, shapes, size)) for (file, size), shapes in drawings.items())


def _draw_mask(drawings: Sequence[tuple[Annotation, int]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """[H, W] class indices of the annotations of one photograph: by z_order, then the smaller above, IGNORE below."""
    mask = np.zeros(size, np.uint8)
    shapes = [(each.z_order, decode(draw(each.outline, size)), value) for each, value in drawings]
    for _, shape, value in sorted(shapes, key=lambda each: (each[0], -int(each[1].sum()), each[2] != IGNORE)):
        mask[shape] = value
    return mask


def _of_a_tool(files: SetFiles, listing: Path | None) -> str:
    packed = [path for path in files if path.suffix.lower() in PACKED and listing in (None, path)]
    if packed:
        return f", and {packed[0]} is packed: unpack it, or name it"
    by_layout, unreadable = _by_layout(files, listing)
    named = [f"{path} is {kind}, which is not read" for kind in NOT_READ for path in by_layout[kind][:1]]
    return next((f", and {each}: export as COCO" for each in (*named, *unreadable.values())), "")
