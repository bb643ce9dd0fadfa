"""Writing graphs of small networks: what is written, what is refused, what stays on the disk."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.errors import ExportError, OptionError
from lexiseg_model.export import manifest
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import MANIFEST, RANGES, Numbers
from lexiseg_model.export.runner import Engine, OnnxRunner
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import published_policy
from lexiseg_model.methods.tcl.network import ImagePass as TclPass
from tests.model.export.conftest import MIN_AGREEMENT, exact_tiny, graphs_of_tiny, tiny_by
from tests.model.export.small import BUCKET, SmallSegmenter, edges, noise
from tests.model.methods.tcl.small import small_network

NUMBERS: tuple[Numbers, ...] = ("float32", "int8")
CPU = torch.device("cpu")
WINDOW = (32, 48)


def test_each_bucket_gets_a_graph_and_other_tiles_stay_with_the_method(tmp_path: Path) -> None:
    buckets = (WINDOW, (48, 32))
    one_block = small_network(layers=1).visual  # the others are alike
    naclip = DenseNetwork(one_block, published_policy("naclip"))  # its neighbourhood depends on the grid
    segmenter = SmallSegmenter(naclip, buckets, any_size=False)
    tiles = [noise(3, bucket) for bucket in buckets]
    expected = [segmenter.encode_tiles(each) for each in tiles]

    written = export(segmenter, tmp_path / "onnx")
    segmenter.use_image_runner(OnnxRunner(tmp_path / "onnx", written, "float32", CPU))
    segmenter.own = 0

    assert [graph.size for graph in written.graphs] == list(buckets)
    for each, wanted in zip(tiles, expected, strict=True):
        torch.testing.assert_close(segmenter.encode_tiles(each), wanted, atol=1e-4, rtol=1e-3)
    assert segmenter.own == 0
    segmenter.encode_tiles(noise(2, (32, 32)))
    assert segmenter.own == 2


def test_a_transformer_is_written_and_goes_to_8_bits_without_photographs(tmp_path: Path) -> None:
    segmenter = SmallSegmenter(TclPass(small_network(layers=1)), (WINDOW,), any_size=False)
    tiles = noise(2, WINDOW)
    expected = segmenter.encode_tiles(tiles)

    written = add_int8(tmp_path / "onnx", export(segmenter, tmp_path / "onnx"), [])
    float32, int8 = (OnnxRunner(tmp_path / "onnx", written, numbers, CPU).encode(tiles) for numbers in NUMBERS)

    assert int8 is not None
    small, large = (written.image_pass(numbers)[0].bytes for numbers in ("int8", "float32"))
    assert small < large
    assert written.int8 is not None
    assert written.int8.startswith("dynamic")
    torch.testing.assert_close(float32, expected, atol=1e-4, rtol=1e-3)
    for ours, theirs in zip(int8, expected, strict=True):
        assert 0.99 < F.cosine_similarity(ours, theirs).min() < 0.999999  # near, and not the same numbers


def test_a_graph_holds_no_stack_traces_of_its_exporter(small_export: Path) -> None:
    graph = onnx.load(small_export / "image.onnx").graph

    assert not any(node.metadata_props or node.doc_string for node in graph.node)


def test_weights_keep_to_7_bits(small_quantised: Path) -> None:
    written = manifest.read(small_quantised)

    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(small_quantised / "image.int8.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert written.int8 == "static, 7-bit weights, ranges of 4 photographs"
    assert len(weights) == 2
    assert max(abs(weight.astype(int)).max() for weight in weights) <= 64


def sums(graph: Any) -> Iterator[tuple[float, float, list[int]]]:
    """Of each 8-bit sum the ratios of its inputs' scales to its own, and the three zero points."""
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    quantisers = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in graph.node:
        inputs = [producers[name] for name in node.input if name in producers]
        if node.op_type == "Add" and [each.op_type for each in inputs] == ["DequantizeLinear"] * 2:
            three = [*inputs, quantisers[node.output[0]]]
            one, other, own = (float(values[each.input[1]]) for each in three)
            yield one / own, other / own, [int(values[each.input[2]]) for each in three]


@pytest.mark.parametrize("name", ["written now", "image.int8", "prompt-maps", "lone-point", "sure-prompt"])
def test_8_bit_sums_round_alike_with_and_without_fused_products(name: str) -> None:
    written = graphs_of_tiny("float32").folder / "image.int8.onnx"  # by the ranges of photographs
    path = written if name == "written now" else graphs_of_tiny("int8").folder / f"{name}.onnx"
    each = np.arange(256)

    of_graph = list(sums(onnx.load(path).graph))

    assert of_graph
    for one, other, (zero, other_zero, own_zero) in of_graph:
        exact = np.add.outer((each - zero) * one, (each - other_zero) * other) + own_zero
        fixed = np.float32(own_zero - zero * one - other_zero * other)
        floats = each.astype(np.float32)
        rounded = np.add.outer(floats * np.float32(one), floats * np.float32(other) + fixed)
        inside = (exact > -1) & (exact < 256)
        np.testing.assert_array_equal(np.rint(rounded)[inside], np.rint(exact)[inside])


@pytest.mark.parametrize("count", [0, 3])
def test_convolutions_go_to_8_bits_only_by_photographs(count: int, small_export: Path) -> None:
    before = manifest.read(small_export)

    with pytest.raises(OptionError, match=f"at least 4 photographs with --photos FOLDER, got {count}"):
        add_int8(small_export, before, [noise(1, BUCKET)] * count)

    assert manifest.read(small_export) == before


def test_a_new_export_replaces_the_old_one_as_a_whole(small_export: Path) -> None:
    (small_export / "image-of-old.onnx").touch()

    export(edges("new"), small_export)

    assert manifest.read(small_export).digest == "new"
    assert sorted(path.name for path in small_export.iterdir()) == ["image.onnx", "onnx.json"]
    assert list(small_export.parent.iterdir()) == [small_export]


class Moody(nn.Module):
    """Depends on values that tracing does not know."""

    def forward(self, tiles: Tensor) -> tuple[Tensor]:
        return (tiles.float() if tiles.float().mean() > 100 else -tiles.float(),)


class Noisy(nn.Module):
    """Never gives the same answer."""

    def forward(self, tiles: Tensor) -> tuple[Tensor]:
        return (tiles.float() + 100 * torch.rand_like(tiles.float()),)


@pytest.mark.parametrize(("network", "message"), [(Moody(), "cannot be exported"), (Noisy(), "off by")])
def test_a_graph_that_would_not_do_is_refused_and_the_old_export_stays(
    network: nn.Module, message: str, small_export: Path
) -> None:
    before = manifest.read(small_export)

    with pytest.raises(ExportError, match=message):
        export(SmallSegmenter(network, (BUCKET,), any_size=True), small_export)

    assert manifest.read(small_export) == before
    assert list(small_export.parent.iterdir()) == [small_export]


every_engine = pytest.mark.parametrize(
    ("engine", "numbers"), [(engine, numbers) for engine in ("ONNX Runtime", "OpenVINO") for numbers in NUMBERS]
)


@every_engine
def test_labels_of_photographs_agree_with_torch(
    engine: Engine, numbers: Numbers, agreement: Callable[[Exportable], float]
) -> None:
    assert agreement(tiny_by(engine, numbers)) > MIN_AGREEMENT[numbers]


@every_engine
def test_a_tile_gets_the_same_answer_in_company_and_in_other_threads(engine: Engine, numbers: Numbers) -> None:
    encode, tiles = tiny_by(engine, numbers).encode_tiles, noise(3, (96, 128))

    together = encode(tiles)

    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(encode, [tiles[index : index + 1] for index in range(3)]))
    for index, parts in enumerate(alone):
        for part, own in zip(together, parts, strict=True):
            assert torch.equal(part[index], own[0])


def test_one_graph_takes_every_shape_that_the_model_plans(torch_tiny: Exportable) -> None:
    segmenter = tiny_by("ONNX Runtime", "float32")
    panorama = torch_tiny.plan(np.zeros((40, 1200, 3), np.uint8)).bucket
    assert panorama not in torch_tiny.buckets

    for bucket in (torch_tiny.buckets[0], panorama, (32, 32)):
        tiles = noise(1, bucket)
        for ours, theirs in zip(segmenter.encode_tiles(tiles), torch_tiny.encode_tiles(tiles), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=2**-10)  # a step of half floats


def test_the_manifest_says_what_the_files_are(torch_tiny: Exportable) -> None:
    folder, manifest = graphs_of_tiny("float32")

    assert manifest.digest == torch_tiny.digest
    assert manifest.int8 == "static, 7-bit weights, ranges of 4 photographs"
    assert [(graph.file, graph.numbers) for graph in manifest.graphs] == [
        ("image.onnx", "float32"), ("prompt-maps.onnx", "float32"), ("lone-point.onnx", "float32"),
        ("sure-prompt.onnx", "float32"), ("image.int8.onnx", "int8"),
    ]  # fmt: skip
    for graph in manifest.graphs:
        content = (folder / graph.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (graph.bytes, graph.sha256)
        assert max(used.version for used in onnx.load(folder / graph.file).opset_import) == manifest.opset
    files = {graph.file for graph in manifest.graphs}
    assert {path.name for path in folder.iterdir()} == files | {MANIFEST, RANGES}


def test_the_graph_takes_the_place_of_the_weights_in_memory() -> None:
    own = sum(graph.bytes for graph in graphs_of_tiny("int8").manifest.image_pass("int8"))

    assert own < tiny_by("ONNX Runtime", "int8").nbytes < exact_tiny().nbytes
