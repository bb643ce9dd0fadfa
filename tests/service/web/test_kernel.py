"""The kernel that the page has as WebAssembly is that of the service."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.kernel import library
from lexiseg_model.masks.bilinear import axes
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.vocabulary.solving import MAX_TEXT, SCALE
from tests.command import ended
from tests.kernel import require_kernel
from tests.model.kernel.test_teach import small_cells
from tests.service.web import node

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "model/wasm_kernel.py"
KERNEL = """
const kernel = await import("PLAYGROUND/masks/kernel.js");
const { winners, encodedMap, encodedSpans, cut, connected, outlines } = kernel;
await kernel.ready;
"""
KINDS = {"f4": "Float32Array", "f8": "Float64Array", "i4": "Int32Array"}
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


@pytest.mark.parametrize(("cells", "size"), SIZES)
@pytest.mark.parametrize("count", [1, 5, 300])
def test_labels_probabilities_and_run_lengths_are_the_services(
    cells: tuple[int, int], size: tuple[int, int], count: int
) -> None:
    scores = smooth(np.random.default_rng(count), count, *cells)
    script = """
        const { scores, count, cells, size } = given;
        const { labels, votes, probability } = winners(Float32Array.from(scores), count, cells, size);
        const masks = encodedMap(labels, count, size);
        console.log(JSON.stringify({ labels: [...labels], votes: [...votes], probability: [...probability], masks }));
    """
    given = {"scores": scores.ravel().tolist(), "count": count, "cells": cells, "size": size}

    page = node.run(KERNEL + script, given)

    labels, votes, probability = library.winners(scores, axes(cells, size), keep_probability=True)
    np.testing.assert_array_equal(page["labels"], labels.ravel())
    assert probability is not None
    np.testing.assert_allclose(page["probability"], probability.ravel(), rtol=1e-6)  # logarithms of two C libraries
    np.testing.assert_allclose(page["votes"], votes, rtol=1e-6)
    assert page["masks"] == described(encode_label_map(labels, count))


@pytest.mark.parametrize(("cells", "size"), SIZES)
def test_masks_and_their_outlines_are_the_services(cells: tuple[int, int], size: tuple[int, int]) -> None:
    logits = smooth(np.random.default_rng(0), *cells)
    script = """
        const { logits, cells, size } = given;
        const spans = cut(Float32Array.from(logits), cells, size);
        console.log(JSON.stringify({ spans, mask: encodedSpans(spans, size), rings: outlines(spans, size) }));
    """

    page = node.run(KERNEL + script, {"logits": logits.ravel().tolist(), "cells": cells, "size": size})

    spans = library.cut(logits, axes(cells, size))
    assert page["spans"] == spans.ravel().tolist()
    assert [page["mask"]] == described([library.encode_spans(spans, size)])
    assert page["rings"] == [[ring.tolist() for ring in part] for part in library.outlines(spans, size)]


@pytest.mark.parametrize("kind", ["Uint8Array", "Uint16Array"])
def test_regions_are_the_services(kind: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 30)).astype(np.uint8)
    script = """
        const { ends, region, owner, areas } = connected(globalThis[given.kind].from(given.labels), [40, 30]);
        console.log(JSON.stringify({ ends, areas, region: [...region], owner: [...owner] }));
    """

    page = node.run(KERNEL + script, {"kind": kind, "labels": labels.ravel().tolist()})

    expected = library.connect(labels)
    for name, numbers in (("ends", expected.ends), ("region", expected.region), ("owner", expected.classes)):
        assert page[name] == numbers.tolist()
    assert page["areas"] == expected.areas.tolist()


def test_a_head_has_the_services_bits() -> None:
    cells = small_cells(3)
    n, f, k, folds = *cells.features.shape, cells.shown.shape[1], len(cells.shown) - 1
    found = np.zeros((1 + folds) * k * f, np.float32), np.zeros(k, np.float32), np.zeros(2 * k)
    arrays = *cells[:5], cells.shown, cells.factors, *found
    script = """
        const file = await fetch(new URL("PLAYGROUND/masks/kernel.wasm"));
        const { instance } = await WebAssembly.instantiate(await file.arrayBuffer());
        const { lexiseg_teach, malloc, memory } = instance.exports;
        const places = given.arrays.map(([kind, values]) => {
            const place = malloc(8 * values.length);
            new globalThis[kind](memory.buffer, place, values.length).set(values.map((value) => value ?? NaN));
            return place;
        });
        const [shown, factors, ...found] = places.slice(5);
        lexiseg_teach(...places.slice(0, 5), ...given.sizes.map(BigInt), shown, factors, ...given.numbers, ...found);
        const bytes = given.arrays.slice(7).map(([kind, values], index) => {
            return [...new Uint8Array(memory.buffer, found[index], values.length * globalThis[kind].BYTES_PER_ELEMENT)];
        });
        console.log(JSON.stringify(bytes));
    """
    values = [[None if value != value else value for value in each.ravel().tolist()] for each in arrays]
    kinds = [KINDS[each.dtype.str[1:]] for each in arrays]
    given = {"arrays": list(zip(kinds, values, strict=True)), "sizes": [n, f, k, folds]}

    page = node.run(script, given | {"numbers": [cells.strength, SCALE, MAX_TEXT]})

    directions, text, iou = library.teach(cells, SCALE, MAX_TEXT)
    assert directions.any()
    assert bytes(page[0][: directions.nbytes]) == directions.tobytes()
    assert bytes(page[1]) == text.tobytes()
    assert bytes(page[2]) == iou.tobytes()
