"""SA-1B and COCO instances as photographs with masks, and errors about broken ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.errors import SampleError
from lexiseg_model.masks.rle import decode, encode_mask
from lexiseg_model.types import Rle
from lexiseg_train.data.read_scenes import outlined_scenes
from lexiseg_train.data.scenes import Scene

HEIGHT, WIDTH = 6, 8


def box(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (200, 10, 10)).save(path)


def masks_of(scene: Scene[tuple[Rle, ...]]) -> list[list[list[bool]]]:
    return [decode(rle).tolist() for rle in scene.read_truth()]


TEXT = {"size": [HEIGHT, WIDTH], "counts": encode_mask(box(1, 2, 4, 5)).counts}
NUMBERS = {"size": [HEIGHT, WIDTH], "counts": [8, 3, 3, 3, 3, 3, 25]}
POLYGON = [[1.0, 2.0, 4.0, 2.0, 4.0, 5.0, 1.0, 5.0]]


def write_sa1b(folder: Path, *segmentations: object) -> None:
    photograph(folder / "sa_000001" / "sa_7.jpg")
    entries = [{"segmentation": entry, "predicted_iou": 0.9, "stability_score": 0.9} for entry in segmentations]
    image = {"image_id": 7, "width": WIDTH, "height": HEIGHT, "file_name": "sa_7.jpg"}
    (folder / "sa_000001" / "sa_7.json").write_text(json.dumps({"image": image, "annotations": entries}))


def test_sa_1b_gives_masks_without_names(tmp_path: Path) -> None:
    write_sa1b(
        tmp_path, TEXT, {"size": [HEIGHT, WIDTH], "counts": encode_mask(box(0, 0, 8, 6)).counts}, NUMBERS, POLYGON
    )

    (scene,) = outlined_scenes(tmp_path)

    assert masks_of(scene) == [box(*place).tolist() for place in ((1, 2, 4, 5), (0, 0, 8, 6), *[(1, 2, 4, 5)] * 2)]
    assert [(rle.area, rle.bbox) for rle in scene.read_truth()][:2] == [(9, (1, 2, 3, 3)), (48, (0, 0, 8, 6))]
    assert scene.read_image().shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("segmentation", "complaint"),
    [
        ({"size": [HEIGHT, WIDTH + 1], "counts": "04"}, "a mask of 9 x 6, its photograph 8 x 6"),
        ([[1, 2, 3]], "a polygon of 3 coordinates"),
        (None, "neither run lengths nor polygons"),
    ],
)
def test_an_unreadable_mask_is_reported_with_its_photograph(
    tmp_path: Path, segmentation: object, complaint: str
) -> None:
    write_sa1b(tmp_path, segmentation)

    with pytest.raises(SampleError, match=complaint) as raised:
        outlined_scenes(tmp_path)[0].read_truth()

    assert raised.value.sample == f"{tmp_path}/sa_000001/sa_7.jpg"


def write_coco(root: Path, annotations: list[dict[str, object]], name: str = "a.jpg") -> Path:
    photograph(root / "train2017" / "a.jpg")
    listing = root / "annotations" / "instances_train2017.json"
    listing.parent.mkdir()
    content = {
        "images": [{"id": 5, "file_name": name, "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"image_id": 5, "iscrowd": 0} | annotation for annotation in annotations],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
    }
    listing.write_text(json.dumps(content))
    return listing


def test_coco_instances_are_read_without_groups(tmp_path: Path) -> None:
    crowd = {"category_id": 3, "segmentation": NUMBERS, "iscrowd": 1}
    (scene,) = outlined_scenes(write_coco(tmp_path, [{"category_id": 90, "segmentation": POLYGON}, crowd]))

    assert masks_of(scene) == [box(1, 2, 4, 5).tolist()]


def test_a_missing_coco_photograph_costs_itself_alone(tmp_path: Path) -> None:
    (scene,) = outlined_scenes(write_coco(tmp_path, [{"category_id": 3, "segmentation": POLYGON}], "b.jpg"))

    with pytest.raises(SampleError, match="cannot be read as an image"):
        scene.read_image()


def test_one_unreadable_object_of_sa_1b_costs_itself_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sa1b(tmp_path, [[float("nan"), 0, 5, 0, 5, 5]], TEXT)

    assert masks_of(outlined_scenes(tmp_path)[0]) == [box(1, 2, 4, 5).tolist()]
    expected = "sa_7.jpg: 1 of 2 objects are left out: object 1: a polygon with nan among its coordinates\n"
    assert capsys.readouterr().out.endswith(expected)
