"""The kernel that the page has as WebAssembly is that of the service."""

import base64
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.kernel import library, shapes, teach
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import axes
from lexiseg_model.vocabulary import solving
from tests.command import ended
from tests.kernel import require_kernel
from tests.model.kernel.test_lessons import CLASSES, small_lessons, small_picture
from tests.service.web import node

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "model/wasm_kernel.py"
KERNEL = """
const kernel = await import("PLAYGROUND/masks/kernel.js");
const { winners, encodedMap, encodedSpans, cut, connected, polygonsOf } = kernel;
await kernel.ready;
"""
SIZES = [((9, 13), (61, 47)), ((2, 2), (16, 300)), ((30, 20), (20, 30)), ((5, 40), (5, 40))]


@pytest.fixture(autouse=True)
def kernel() -> None:
    require_kernel()


def smooth(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Random scores whose neighbours are alike, as a network's."""
    numbers: NDArray[Any] = random.normal(0, 3, shape)
    for axis in (-1, -2):
        numbers = (numbers + np.roll(numbers, 1, axis)) / 2
    return np.ascontiguousarray(numbers, np.float32)


def described(rles: list[Any]) -> list[dict[str, Any]]:
    return [
        {"mask": {"size": list(one.size), "counts": one.counts}, "area": one.area, "bbox": list(one.bbox)}
        for one in rles
    ]


def test_the_binary_is_of_these_sources() -> None:
    answer = ended([sys.executable, str(TOOL), "check"], cwd=ROOT)

    assert answer.returncode == 0, answer.stderr


def test_a_binary_of_other_sources_is_found_out(tmp_path: Path) -> None:
    for path in ("model/wasm_kernel.py", "model/lexiseg_model/kernel", "service/lexiseg_service/web/playground/masks"):
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / path, tmp_path / path)
    with (tmp_path / "model/lexiseg_model/kernel/runs.c").open("a") as source:
        source.write("/* more */\n")

    answer = ended([sys.executable, str(tmp_path / "model/wasm_kernel.py"), "check"], cwd=tmp_path)

    assert answer.returncode != 0
    assert "run `make wasm`" in answer.stderr


def test_labels_probabilities_and_run_lengths_are_the_services() -> None:
    script = """
        console.log(JSON.stringify(given.map(({ scores, count, cells, size }) => {
            const { labels, votes, probability } = winners(Float32Array.from(scores), count, cells, size);
            const masks = encodedMap(labels, count, size);
            return { labels: [...labels], votes: [...votes], probability: [...probability], masks };
        })));
    """
    cases = [
        (smooth(np.random.default_rng(count), count, *cells), cells, size)
        for cells, size in SIZES
        for count in (1, 5, 300)
    ]
    given = [
        {"scores": scores.ravel().tolist(), "count": len(scores), "cells": cells, "size": size}
        for scores, cells, size in cases
    ]

    for page, (scores, cells, size) in zip(node.run(KERNEL + script, given), cases, strict=True):
        labels, votes, probability = library.winners(scores, axes(cells, size), keep_probability=True)
        np.testing.assert_array_equal(page["labels"], labels.ravel())
        assert probability is not None
        np.testing.assert_allclose(page["probability"], probability.ravel(), rtol=1e-6)  # logarithms of two C libraries
        np.testing.assert_allclose(page["votes"], votes, rtol=1e-6)
        assert page["masks"] == described(encode_label_map(labels, len(scores)))


def test_masks_and_their_outlines_are_the_services() -> None:
    script = """
        console.log(JSON.stringify(given.map(({ logits, cells, size }) => {
            const spans = cut(Float32Array.from(logits), cells, size);
            const made = encodedSpans(spans, size);
            return { spans, mask: made, rings: polygonsOf(made.mask) };
        })));
    """
    all_logits = [smooth(np.random.default_rng(0), *cells) for cells, _ in SIZES]
    given = [
        {"logits": logits.ravel().tolist(), "cells": cells, "size": size}
        for logits, (cells, size) in zip(all_logits, SIZES, strict=True)
    ]

    for page, logits, (cells, size) in zip(node.run(KERNEL + script, given), all_logits, SIZES, strict=True):
        spans = shapes.cut(logits, axes(cells, size))
        assert page["spans"] == spans.ravel().tolist()
        assert [page["mask"]] == described([shapes.encode_spans(spans, size)])
        assert page["rings"] == [[ring.tolist() for ring in part] for part in shapes.outlines(spans, size)]


@pytest.mark.parametrize("kind", ["Uint8Array", "Uint16Array"])
def test_regions_are_the_services(kind: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 30)).astype(np.uint8)
    script = """
        const { ends, region, owner, areas } = connected(globalThis[given.kind].from(given.labels), [40, 30]);
        console.log(JSON.stringify({ ends, areas, region: [...region], owner: [...owner] }));
    """

    page = node.run(KERNEL + script, {"kind": kind, "labels": labels.ravel().tolist()})

    expected = shapes.connect(labels)
    for name, numbers in (("ends", expected.ends), ("region", expected.region), ("owner", expected.classes)):
        assert page[name] == numbers.tolist()
    assert page["areas"] == expected.areas.tolist()


CALL = """
const file = await fetch(new URL("PLAYGROUND/masks/kernel.wasm"));
const { exports } = (await WebAssembly.instantiate(await file.arrayBuffer())).instance;
const placed = (base64) => {
    const bytes = Buffer.from(base64, "base64");
    const place = exports.malloc(bytes.length);
    new Uint8Array(exports.memory.buffer, place).set(bytes);
    return place;
};
const kinds = { array: placed, integer: BigInt, number: Number };
const values = given.arguments.map(([kind, value]) => kinds[kind](value));
const result = Number(exports[`lexiseg_${given.name}`](...values));
const arrays = given.arguments.map(([kind, value], i) => {
    if (kind !== "array") return null;
    return Buffer.from(exports.memory.buffer, values[i], Buffer.from(value, "base64").length).toString("base64");
});
console.log(JSON.stringify({ result, arrays: arrays.filter((one) => one !== null) }));
"""


@pytest.fixture
def in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of the kernel are calls of the page's binary."""

    def call(name: str, *arguments: NDArray[Any] | float) -> int:
        arrays = [each for each in arguments if isinstance(each, np.ndarray)]
        described = [
            ("array", base64.b64encode(each.tobytes()).decode())
            if isinstance(each, np.ndarray)
            else ("integer" if isinstance(each, int) else "number", each)
            for each in arguments
        ]
        answer = node.run(CALL, {"name": name, "arguments": described})
        for array, content in zip(arrays, answer["arrays"], strict=True):
            array[...] = np.frombuffer(base64.b64decode(content), array.dtype).reshape(array.shape)
        return int(answer["result"])

    monkeypatch.setattr(teach, "call", call)


@pytest.mark.parametrize("n_lessons", [1, 5])
def test_a_head_has_the_services_bits(n_lessons: int, request: pytest.FixtureRequest) -> None:
    compiled = solving.learn(small_lessons(n_lessons), CLASSES)

    request.getfixturevalue("in_the_page")
    of_page = solving.learn(small_lessons(n_lessons), CLASSES)

    assert compiled.directions.any()
    assert [part.tobytes() for part in of_page] == [part.tobytes() for part in compiled]


def test_a_lesson_has_the_services_bits(request: pytest.FixtureRequest) -> None:
    given = small_picture((61, 47), (16, 12))
    compiled = teach.lesson(*given)

    request.getfixturevalue("in_the_page")
    of_page = teach.lesson(*given)

    assert len(compiled.labels) == 100
    assert [part.tobytes() for part in of_page] == [part.tobytes() for part in compiled]


def test_pictures_are_resized_as_by_opencv() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 4)).astype(np.uint8)
    sizes = [(60, 90), (30, 45), (23, 45), (13, 90), (100, 130), (70, 31)]
    cases = [(size, linear) for size in sizes for linear in (False, True)]
    script = """
        const pixels = Uint8ClampedArray.from(given.pixels);
        const made = given.cases.map(([size, linear]) => [...kernel.resized(pixels, [60, 90], size, 4, 3, linear)]);
        console.log(JSON.stringify(made));
    """

    page = node.run(KERNEL + script, {"pixels": picture.ravel().tolist(), "cases": cases})

    for pixels, (size, linear) in zip(page, cases, strict=True):
        smaller = not linear and size[0] * size[1] < picture.shape[0] * picture.shape[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        np.testing.assert_array_equal(pixels, cv2.resize(picture[..., :3], size[::-1], interpolation=method).ravel())


def test_a_stroke_covers_what_is_near_its_way() -> None:
    script = """
        const points = [{ x: 5, y: 5 }, { x: 15.5, y: 8 }];
        console.log(JSON.stringify([...kernel.stroked([20, 18], { points, radius: 2.5 })]));
    """

    page = np.array(node.run(KERNEL + script, {})).reshape(18, 20).T

    y, x = np.mgrid[:20, :18] + 0.5 - np.array([5, 5])[:, None, None]
    share = ((10.5 * x + 3 * y) / (10.5**2 + 3**2)).clip(0, 1)
    np.testing.assert_array_equal(page, np.hypot(x - 10.5 * share, y - 3 * share) <= 2.5)
