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
from tests.command import ended
from tests.kernel import require_kernel
from tests.service.web import node

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "model/wasm_kernel.py"
KERNEL = """
const kernel = await import("PLAYGROUND/masks/kernel.js");
const { winners, encodedMap, encodedSpans, cut, connected, outlines } = kernel;
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
