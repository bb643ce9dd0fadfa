"""The page's writers give the files that the service's give, byte by byte; of PNG files, pixel by pixel."""

import base64
import io
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_labels.data_set import REVIEWED_LIST, DataSet, Picture
from lexiseg_labels.exports import format_of, pieces
from lexiseg_labels.segments import RunLengths, Segment
from lexiseg_model.masks.rle import encode_mask
from tests.service.web import node

LABELS = ["sky", 'a "b" & <c>', "Straße", "object", None, "x:y#z", "tab\there", "\u2028 鳥", "\x01"]
# Each format: the function of the page's module, and the path that the page gives a file of the service.
WRITERS = {
    "coco": ("coco", "{}"),
    "yolo": ("yolo", "{}"),
    "cvat": ("cvat", "cvat.xml"),
    "label-studio": ("labelStudio", "label-studio.json"),
    "geojson": ("geojson", "geojson/{}"),
    "label-maps": ("labelMaps", "label-maps/{}"),
    "voc": ("voc", "voc/{}"),
}
SCRIPT = """
const { ready } = await import("PLAYGROUND/masks/kernel.js");
const { setOf } = await import("PLAYGROUND/formats/set.js");
await ready;
const written = {};
for (const [module, [name]] of Object.entries(given.writers)) {
    const files = written[module] = {};
    const writer = await import(`PLAYGROUND/formats/${module}.js`);
    for (const [path, content] of writer[name](setOf(given.pictures))) {
        const bytes = new Uint8Array(await new Blob([await content()]).arrayBuffer());
        files[path] = Buffer.from(bytes).toString("base64");
    }
}
console.log(JSON.stringify(written));
"""


Found = tuple[str | None, float, NDArray[np.bool_]]  # label, score, mask


def masks(random: np.random.Generator, size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """Disjoint masks with parts and holes, and one over them, the larger first: so both sides paint them."""
    numbers = random.integers(0, 5, (size[0] // 4 + 1, size[1] // 4 + 1)).repeat(4, 0).repeat(4, 1)
    numbers = numbers[: size[0], : size[1]]
    found = [numbers == number for number in range(4)]
    over = np.zeros(size, bool)
    over[5:11, 7:10] = True
    some = [mask for mask in (*found, over) if mask.any()]
    return sorted(some, key=lambda mask: -int(mask.sum()))


def segment(number: int, classes: list[str], found: Found) -> Segment:
    label, score, mask = found
    rle = encode_mask(mask)
    index, track = (None if label is None else classes.index(label)), (number if number % 2 else None)
    shape = RunLengths(rle.size, rle.counts)
    return Segment(number, label, index, score, rle.area, rle.bbox, shape, track_id=track)


def answers(seed: int) -> tuple[list[str], list[Picture]]:
    """Classes, and pictures with random segments; classes in the order in which segments name them."""
    random = np.random.default_rng(seed)
    names = [f"folder {number % 2}/picture {number}+é'!" for number in range(3)]
    sizes = dict(zip(names, [(37, 53), (64, 48), (16, 90)], strict=True))
    found = {
        name: [
            (LABELS[int(random.integers(len(LABELS)))], float(random.random()), mask) for mask in masks(random, size)
        ]
        for name, size in sizes.items()
    }
    classes = list(dict.fromkeys(label for some in found.values() for label, *_ in some if label is not None))
    pictures = [
        Picture(
            name,
            sizes[name],
            [segment(number, classes, one) for number, one in enumerate(some, 1)],
            model="tiny@1",
            reviewed=bool(number % 2),
        )
        for number, (name, some) in enumerate(found.items())
    ]
    return classes, pictures


def as_on_the_page(picture: Picture) -> dict[str, Any]:
    fields = "label", "score", "area", "bbox", "track_id"
    segments = [{"mask": one.rle, **{name: getattr(one, name) for name in fields}} for one in picture.segments]
    own = {"name": picture.file_name, "size": picture.size, "model": picture.model, "reviewed": picture.reviewed}
    return own | {"segments": segments}


@cache
def written_by_the_page(seed: int) -> Any:
    _, pictures = answers(seed)
    return node.run(SCRIPT, {"writers": WRITERS, "pictures": [*map(as_on_the_page, pictures)]})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WRITERS)
def test_a_format_is_the_services(name: str, seed: int) -> None:
    classes, pictures = answers(seed)
    there = WRITERS[name][1]

    page = {path: base64.b64decode(text) for path, text in written_by_the_page(seed)[name].items()}

    data = DataSet(classes, lambda: pictures)
    written = {path: b"".join(pieces(content)) for path, content in format_of(name).write(data)}
    service = {there.format(path): content for path, content in written.items() if path != REVIEWED_LIST}
    assert page.keys() == service.keys()
    for path, content in service.items():
        if path.endswith(".png"):
            one, other = (Image.open(io.BytesIO(each)) for each in (page[path], content))
            assert (one.mode, one.getpalette()) == (other.mode, other.getpalette())
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        else:
            assert page[path].decode() == content.decode()
