"""Sets as tools, systems and people leave them: each is read, with the same pixels of the same class."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.own.layouts import read_own
from lexiseg_train.data.own.prepare import survey
from tests.train.data.own.made import corners, photo, write

RING = [8, 6, 16, 6, 16, 18, 8, 18]  # of 32 x 24: columns 8 to 16, rows 6 to 18
LINE = "0 .25 .25 .5 .25 .5 .75 .25 .75\n"
AREA = 8 * 12
NFC = unicodedata.normalize("NFC", "café")
NFD = unicodedata.normalize("NFD", "café")


def yolo(root: Path, listing: str, *stems: str, name: str = "data.yaml") -> Path:
    for number, stem in enumerate(stems):
        photo(root / f"{stem}.jpg", seed=number)
        head, _, tail = stem.rpartition("images")
        write(root / f"{head}labels{tail}.txt" if "images" in stem else root / f"{stem}.txt", LINE)
    write(root / name, listing)
    return root


def coco(
    root: Path, name: str = "a.jpg", file: str = "annotations.json", size: Any = (24, 32), encoding: str = "utf-8"
) -> Path:
    height, width = size
    image = {"id": 1, "file_name": name, "height": height, "width": width}
    image = {key: value for key, value in image.items() if value is not None}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [RING], "iscrowd": 0, "area": AREA}
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}]}
    write(root / file, json.dumps(content, ensure_ascii=False), encoding)
    return root


def labelme(root: Path, file: str, named: str | None, **more: Any) -> Path:
    shape = {"label": "cat", "points": corners(RING), "shape_type": "polygon"}
    content = {"shapes": [shape], "imagePath": named, "imageHeight": 24, "imageWidth": 32, **more}
    write(root / file, json.dumps({key: value for key, value in content.items() if value is not None}))
    return root


POLYGON = '<polygon label="cat" occluded="0" points="8.00,6.00;16.00,6.00;16.00,18.00;8.00,18.00" z_order="0"/>'


def cvat(root: Path, shapes: str, size: str = 'width="32" height="24"') -> Path:
    image = f'<image id="0" name="a.jpg" {size}>{shapes}</image>'
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
    return write(root / "annotations.xml", f"{head}{image}</annotations>")


def steps(*written: object) -> None:
    """A set that is written in several steps."""
    assert written


def truth() -> NDArray[np.uint8]:
    mask = np.zeros((24, 32), np.uint8)
    mask[6:18, 8:16] = 1
    return mask


def masked(
    root: Path,
    image: str,
    mask: str,
    change: Callable[[NDArray[np.uint8]], Image.Image] = Image.fromarray,
    classes: tuple[str, str] = ("classes.json", '["background", "cat"]'),
) -> Path:
    photo(root / image)
    (root / mask).parent.mkdir(parents=True, exist_ok=True)
    change(truth()).save(root / mask)
    write(root / classes[0], classes[1])
    return root


def label_studio(root: Path, image: str) -> Path:
    """The JSON of one task."""
    points = [[100 * x / 32, 100 * y / 24] for x, y in corners(RING)]
    mark = {"type": "polygonlabels", "value": {"polygonlabels": ["cat"], "points": points}}
    size = {"original_width": 32, "original_height": 24, "image_rotation": 0}
    task = {"data": {"title": "a cat", "photo": image}, "annotations": [{"result": [mark | size]}], "predictions": []}
    return write(root / "project.json", [task])


def gray(mask: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.dstack([mask] * 3))


def red(mask: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.dstack([mask * 128, mask * 0, mask * 0]))


def red_by_palette(mask: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(mask * 7)  # an index that is not the class's
    picture = picture.convert("P")
    picture.putdata((mask.ravel() * 7).tolist())
    picture.putpalette([0, 0, 0] * 7 + [128, 0, 0])
    return picture


PLAIN: dict[str, Callable[[Path], object]] = {
    "YOLO: valid/ is named and not there": lambda t: yolo(
        t, "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['cat']", "train/images/a"
    ),
    "YOLO: a list of folders": lambda t: yolo(
        t, "path: .\ntrain: [train/images, more/images]\nnames: {0: cat}", "train/images/a", "more/images/b"
    ),
    "YOLO: a list of lists of images": lambda t: steps(
        yolo(t, "train:\n- one.txt\n- two.txt\nnames: [cat]", "images/a", "images/b"),
        write(t / "one.txt", "./images/a.jpg\n"),
        write(t / "two.txt", "/home/me/set/images/b.jpg\r\n"),
    ),
    "YOLO: CVAT's list of a folder that is not there": lambda t: steps(
        yolo(t, "path: .\ntrain: train.txt\nnames:\n  0: cat\n", "images/train/a"),
        write(t / "train.txt", "data/images/train/a.jpg\n"),
    ),
    "YOLO: paths of another machine": lambda t: yolo(
        t, "path: C:\\Users\\me\\set\ntrain: C:\\Users\\me\\set\\images\\train\nnames: [cat]", "images/train/a"
    ),
    "YOLO: a Windows path": lambda t: yolo(t, "train: images\\train\nnames: [cat]", "images/train/a"),
    "YOLO: no splits are named": lambda t: yolo(t, "nc: 1\nnames: [cat]", "images/train/a"),
    "YOLO: labels beside the images": lambda t: yolo(t, "train: train\nnames: [cat]", "train/a"),
    "YOLO: a listing of another name": lambda t: yolo(
        t, "train: images\nnames: [cat]", "images/a", name="my-set-seg.yaml"
    ),
    "YOLO: a listing in capitals": lambda t: yolo(t, "train: images\nnames: [cat]", "images/a", name="Data.YAML"),
    "YOLO: nothing but val": lambda t: yolo(t, "val: images/val\nnames: [cat]", "images/val/a"),
    "YOLO: the folder of images is in capitals": lambda t: yolo(t, "train: Images\nnames: [cat]", "images/a"),
    "YOLO: classes.txt, splits": lambda t: yolo(t, "cat\n", "images/train/a", "images/val/b", name="classes.txt"),
    "YOLO: classes.txt among the labels": lambda t: yolo(t, "cat\n", "images/a", name="labels/classes.txt"),
    "YOLO: names in classes.txt alone": lambda t: steps(
        yolo(t, "train: images\nnc: 1\n", "images/a"), write(t / "classes.txt", "cat\n")
    ),
    "YOLO: labels below `labels`, images in no folder": lambda t: steps(
        photo(t / "a.jpg"), write(t / "labels/a.txt", LINE), write(t / "data.yaml", "train: .\nnames: [cat]")
    ),
    "COCO: several sets of one project": lambda t: steps(
        photo(t / "one/images/a.jpg"), coco(t / "one/annotations"), photo(t / "two/images/a.jpg", seed=1),
        coco(t / "two/annotations"),
    ),
    "COCO: FiftyOne's splits": lambda t: steps(
        photo(t / "train/data/a.jpg"), coco(t / "train", file="labels.json"),
        photo(t / "validation/data/a.jpg", seed=1), coco(t / "validation", file="labels.json"),
    ),
    "COCO: panoptic and captions beside it": lambda t: steps(
        photo(t / "train2017/a.jpg"), coco(t, file="annotations/instances_train2017.json"),
        write(t / "annotations/panoptic_train2017.json",
              '{"images": [], "categories": [], "annotations": [{"segments_info": [], "file_name": "a.png"}]}'),
        write(t / "annotations/person_keypoints_train2017.json",
              '{"images": [], "categories": [], "annotations": []}'),
        write(t / "annotations/captions_train2017.json", '{"images": [], "annotations": [{"caption": "x"}]}'),
    ),
    "COCO: CVAT's folder in a subset": lambda t: steps(
        photo(t / "images/Train/cats/a.jpg"), coco(t, "cats/a.jpg", "annotations/instances_Train.json")
    ),
    "COCO: Label Studio's upload": lambda t: steps(photo(t / "photos/a.jpg"), coco(t, "/data/upload/7/1a2b3c4d-a.jpg")),
    "COCO: an address": lambda t: steps(photo(t / "my cat.jpg"), coco(t, "https://store.example/c/my%20cat.jpg?sign=1")),
    "COCO: a malformed address": lambda t: steps(
        photo(t / "my cat.jpg"), coco(t, "https://[store.example/my%20cat.jpg#1")
    ),
    "COCO: no sizes": lambda t: steps(photo(t / "a.jpg"), coco(t, size=(None, None))),
    "COCO: sizes of 0": lambda t: steps(photo(t / "a.jpg"), coco(t, size=(0, 0))),
    "COCO: sizes of null": lambda t: steps(photo(t / "a.jpg"), coco(t, size=("", "null"))),
    "COCO: a decomposed name on the disk": lambda t: steps(photo(t / f"images/{NFD}.jpg"), coco(t, f"{NFC}.jpg")),
    "COCO: a decomposed name in the file": lambda t: steps(photo(t / f"{NFC}.jpg"), coco(t, f"images/{NFD}.jpg")),
    "COCO: a name in the code page of a zip": lambda t: steps(
        photo(t / f"images/{'Käse'.encode('cp850').decode('cp437')}.jpg"), coco(t, "images/Käse.jpg")
    ),
    "COCO: a Cyrillic name in the code page of a zip": lambda t: steps(
        photo(t / f"images/{'кот'.encode('cp866').decode('cp437')}.jpg"), coco(t, "images/кот.jpg")
    ),
    "COCO: UTF-8 that a zip does not say": lambda t: steps(
        photo(t / f"images/{'кот'.encode().decode('cp437')}.jpg"), coco(t, "images/кот.jpg")
    ),
    "COCO: a name in capitals": lambda t: steps(photo(t / "IMAGES/A.JPG"), coco(t, "images/a.jpg")),
    "COCO: Windows' separators and code page": lambda t: steps(
        photo(t / "images/Käse.jpg"), coco(t, "images\\Käse.jpg", encoding="cp1252")
    ),
    "COCO: UTF-16 with a mark": lambda t: steps(photo(t / "a.jpg"), coco(t, encoding="utf-16")),
    "COCO: a path of another machine": lambda t: steps(photo(t / "x/a.jpg"), coco(t, "D:\\data\\x\\a.jpg")),
    "COCO: a folder around": lambda t: steps(photo(t / "export/images/a.jpg"), coco(t / "export", "images/a.jpg")),
    "COCO: two folders around, and a readme": lambda t: steps(
        photo(t / "x/export/a.jpg"), coco(t / "x/export"), write(t / "README.txt", "hello")
    ),
    "COCO: what macOS adds to a zip": lambda t: steps(
        photo(t / "export/a.jpg"), coco(t / "export"), write(t / "__MACOSX/export/._annotations.json", "{"),
        write(t / "export/.DS_Store", "x"),
    ),
    "Labelme: no sizes": lambda t: steps(
        photo(t / "a.jpg"), labelme(t, "a.json", "a.jpg", imageHeight=None, imageWidth=None)
    ),
    "Labelme: labels apart": lambda t: steps(photo(t / "images/a.jpg"), labelme(t, "labels/a.json", "../images/a.jpg")),
    "Labelme: labels apart, Windows": lambda t: steps(
        photo(t / "images/a.jpg"), labelme(t, "labels/a.json", "..\\images\\a.jpg")
    ),
    "Labelme: labels apart, the name alone": lambda t: steps(
        photo(t / "images/a.jpg"), labelme(t, "labels/a.json", "a.jpg")
    ),
    "Labelme: no imagePath": lambda t: steps(photo(t / "a.jpg"), labelme(t, "a.json", None)),
    "Labelme: a decomposed name": lambda t: steps(photo(t / f"{NFD}.jpg"), labelme(t, f"{NFD}.json", f"{NFC}.jpg")),
    "CVAT: a subset's folder, a size that is not stated": lambda t: steps(
        photo(t / "images/Train/a.jpg"), cvat(t, POLYGON, "")
    ),
    "Label Studio: a local file": lambda t: steps(
        photo(t / "a.jpg"), label_studio(t, "/data/local-files/?d=mine/a.jpg")
    ),
    "masks: of 1 bit": lambda t: masked(
        t, "images/a.jpg", "masks/a.png", lambda mask: Image.fromarray(mask.astype(bool))
    ),
    "masks: of 16 bits": lambda t: masked(
        t, "images/a.jpg", "masks/a.png", lambda mask: Image.fromarray(mask.astype(np.uint16))
    ),
    "masks: three equal channels": lambda t: masked(t, "images/a.jpg", "masks/a.png", gray),
    "masks: gray and alpha": lambda t: masked(
        t, "images/a.jpg", "masks/a.png", lambda mask: Image.fromarray(mask).convert("LA")
    ),
    "masks: TIFF": lambda t: masked(t, "images/a.jpg", "masks/a.tif"),
    "masks: a_mask.png": lambda t: masked(t, "images/a.jpg", "masks/a_mask.png"),
    "masks: a.jpg.png": lambda t: masked(t, "images/a.jpg", "masks/a.jpg.png"),
    "masks: other folders": lambda t: masked(t, "imgs/a.jpg", "labels/a.png"),
    "masks: folders in folders": lambda t: masked(t, "images/x/a.jpg", "masks/x/a.png"),
    "masks: decomposed names": lambda t: masked(t, f"images/{NFD}.jpg", f"masks/{NFC}.png"),
    "masks: ADE20K's splits": lambda t: masked(t, "images/training/a.jpg", "annotations/training/a.png"),
    "masks: split below": lambda t: masked(t, "img_dir/train/a.jpg", "ann_dir/train/a.png"),
    "masks: names in classes.txt": lambda t: masked(
        t, "images/a.jpg", "masks/a.png", classes=("classes.txt", "background\ncat\n")
    ),
    "masks: Roboflow's": lambda t: masked(
        t, "train/a.jpg", "train/a_mask.png",
        classes=("train/_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n"),
    ),
    "masks: beside the photographs": lambda t: masked(t, "a.jpg", "a_mask.png"),
    "masks: CVAT's colours": lambda t: masked(
        t, "JPEGImages/a.jpg", "SegmentationClass/a.png", red,
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n"),
    ),
    "masks: colours by a palette": lambda t: masked(
        t, "JPEGImages/a.jpg", "SegmentationClass/a.png", red_by_palette,
        ("labelmap.txt", "cat:128,0,0::\nbackground:0,0,0::\n"),
    ),
    "masks: Labelme's VOC": lambda t: masked(
        t, "JPEGImages/a.jpg", "SegmentationClassPNG/a.png",
        classes=("class_names.txt", "__ignore__\n_background_\ncat\n"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", PLAIN)
def test_a_set_is_read_with_its_pixels(layout: str, tmp_path: Path) -> None:
    PLAIN[layout](tmp_path)

    pictures = read_own(tmp_path)

    assert pictures.classes == ("background", "cat")
    masks = [picture.read(2).mask for picture in (*pictures.train, *pictures.held_out)]
    assert masks
    assert all(np.array_equal(mask, truth()) for mask in masks)


def test_a_listing_with_a_number_of_classes_alone_is_read_with_a_warning(tmp_path: Path) -> None:
    yolo(tmp_path, "train: images\nnc: 2\n", "images/a")

    pictures = read_own(tmp_path)

    assert pictures.classes == ("background", "class_0")
    assert any("has no `names`" in warning for warning in pictures.warnings)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("tool", ["COCO", "Labelme"])
def test_a_phone_photograph_whose_size_is_stated_as_stored_is_upright(
    tool: str, orientation: int, tmp_path: Path
) -> None:
    photo(tmp_path / "a.jpg", orientation)
    if tool == "COCO":
        coco(tmp_path)
    else:
        labelme(tmp_path, "a.json", "a.jpg")

    pictures = read_own(tmp_path)

    mask = pictures.train[0].read(2).mask
    assert mask.shape == (32, 24)
    assert np.argwhere(mask).min(0).tolist() == [6, 8]
    assert int(mask.sum()) == AREA
    assert any("EXIF" in warning for warning in pictures.warnings)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_photograph_as_stored_is_turned_with_it(orientation: int, tmp_path: Path) -> None:
    masked(tmp_path, "images/a.jpg", "masks/a.png")
    photo(tmp_path / "images/a.jpg", orientation)

    mask = read_own(tmp_path).train[0].read(2).mask

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(truth()).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as stored:
        assert np.array_equal(mask, np.asarray(ImageOps.exif_transpose(stored)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations><image name="&x;"/></annotations>', "with a DTD"),
        ("<annotations><image name='a.jpg'>", "is not XML"),
        ("<?xml version='1.0' encoding='gbk'?><annotations/>", "its code page is not read"),
        ("<?xml version='1.0' encoding='made-up'?><annotations/>", "its code page is not read"),
        ("\ufeff<?xml version='1.0' encoding='utf-16'?><annotations/>", "not in UTF-8"),
    ],
)
def test_an_xml_that_is_hostile_or_cut_off_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    write(tmp_path / "annotations.xml", content, "utf-16-le" if "utf-16" in content else "utf-8")

    with pytest.raises(DatasetError, match=reason):
        read_own(tmp_path)


def test_an_image_without_a_name_costs_itself_alone(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    coco(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_bytes())
    content["images"].append({"id": 2})
    write(tmp_path / "annotations.json", json.dumps(content))

    pictures = read_own(tmp_path)

    assert (len(pictures.train), pictures.left_out) == (1, ("image number 2: no file_name",))


def test_a_set_that_is_packed_in_a_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path / "export/images.zip", "PK")

    with pytest.raises(DatasetError, match=r"images\.zip is packed: unpack it, or name it"):
        read_own(tmp_path)


def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        photo(tmp_path / f"{number}.jpg", seed=number)
        labelme(tmp_path, f"{number}.json", f"{number}.jpg")
    labelme(tmp_path, "gone.json", "gone.jpg")
    labelme(tmp_path, "small.json", "4.jpg", imageHeight=12, imageWidth=16)
    write(tmp_path / "broken.jpg", "no picture")
    labelme(tmp_path, "broken.json", "broken.jpg")

    report = survey(tmp_path)

    assert (report.layout, report.photographs, report.left_out) == ("Labelme", {"train": 5}, 3)
    said = " ".join(report.left_out_pictures)
    for reason in ("no such file", "stated as 16 x 12, the photograph is 32 x 24", "cannot be read as an image"):
        assert reason in said
    assert str(tmp_path) not in " ".join((*report.warnings, *report.left_out_pictures))
    monkeypatch.chdir(tmp_path)
    assert survey(Path()) == report  # a dot, as in the names of files


def test_a_photograph_that_two_exports_list_is_left_out_once(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    coco(tmp_path)
    shutil.copy(label_studio(tmp_path, "gone.jpg"), tmp_path / "again.json")

    assert survey(tmp_path).left_out == 1


def test_a_folder_of_several_sets_is_refused_by_their_names(tmp_path: Path) -> None:
    for name in ("first", "second"):
        yolo(tmp_path / name, "train: images\nnames: [cat]", "images/a")

    with pytest.raises(DatasetError, match="holds 2 sets, such as first, second"):
        read_own(tmp_path)


def test_the_validation_split_of_yolo_is_held_out_and_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    yolo(
        tmp_path,
        "path: /datasets/x\ntrain: images/train\nval: images/val\nnames: [cat]\n",
        "images/train/a",
        "images/val/b",
    )
    for name in ("images/train/._a.jpg", "images/train/._a.json", ".cache/b.json"):
        write(tmp_path / name, "of macOS")

    pictures = read_own(tmp_path)

    assert [[each.image.name for each in part] for part in (pictures.train, pictures.held_out)] == [
        ["a.jpg"],
        ["b.jpg"],
    ]
    assert pictures.warnings == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("train: images\n", r"data\.yaml has no class names"),
        ("names: 5\n", r"data\.yaml has no class names"),
        ("names: {a: cat}\n", r"data\.yaml has no class names"),
        ("train: images/train\nnames: [cat]\n", "there is no 'images/train'"),
        ("train: train.txt\nnames: [cat]\n", "there is no such file"),
    ],
)
def test_a_listing_of_yolo_that_names_nothing_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", content)
    write(tmp_path / "train.txt", "images/a.jpg\n")

    with pytest.raises(DatasetError, match=reason):
        read_own(tmp_path)


def test_labels_lie_beside_the_links_that_a_list_of_yolo_names(tmp_path: Path) -> None:
    yolo(tmp_path, "train: train.txt\nnames: [cat]\n", "images/a")
    write(tmp_path / "train.txt", "./images/a.jpg\n")
    (tmp_path / "store").mkdir()
    (tmp_path / "images/a.jpg").rename(tmp_path / "store/17.jpg")
    (tmp_path / "images/a.jpg").symlink_to(tmp_path / "store/17.jpg")

    assert int((read_own(tmp_path).train[0].read().mask == 1).sum()) == AREA


def test_labels_of_labelme_that_differ_by_invisible_characters_are_one_class_and_circles_are_masks(
    tmp_path: Path,
) -> None:
    photo(tmp_path / "a.jpg")
    shape = {"points": corners(RING), "shape_type": "polygon"}
    circle = {"label": "dog", "points": [[24, 12], [28, 12]], "shape_type": "circle"}
    shapes = [*({**shape, "label": label} for label in ("cat", "\ufeffcat", "ca\u200bt")), circle]
    labelme(tmp_path, "a.json", "a.jpg", shapes=shapes)

    pictures = read_own(tmp_path)

    assert pictures.classes == ("background", "cat", "dog")
    assert int((pictures.train[0].read().mask == 2).sum()) == pytest.approx(np.pi * 16, abs=6)


@pytest.mark.parametrize("named", ["..\\IMG_0001.JPG", "{root}/set/a.jpg"])
def test_a_photograph_of_labelme_is_found_by_an_absolute_path_or_beside_its_file(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "set/a.jpg")
    labelme(tmp_path / "set", "a.json", named.format(root=tmp_path))
    monkeypatch.chdir(tmp_path)

    assert [picture.image for picture in read_own(Path("set")).train] == [Path("set/a.jpg")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xml", "<annotation><filename>a.jpg</filename></annotation>", "VOC's XML of boxes"),
        ("project.json", '[{"id": 1, "annotations": []}]', "of another format"),
        ("coco.json", '{"images": [{"id": 1', "not JSON"),
    ],
)
def test_a_format_that_is_not_read_is_named(name: str, content: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path / name, content)
    photo(tmp_path / "a.jpg")

    with pytest.raises(DatasetError, match=rf"{name} is {reason}.*export as COCO"):
        read_own(tmp_path)
