"""Quantise ONNX graphs to 8 bits for CPUs.

*Static*, for convolutional networks: 8-bit weights and activations; activation ranges are calibrated once on
photographs and kept in a file. *Dynamic*, for transformers: 8-bit weights of matrix products, ranges per input, no
photographs. Dynamic convolutions are slower than float32 ones and not used.

One graph gives the same results on every processor and in a browser. Weights use 7 bits: x86 processors without VNNI
add pairs of products in 16 bits, which 8-bit weights would overflow. And no sum of two 8-bit values is halfway between
two results: some processors fuse its products and sums, and would round it to the other side.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError, OptionError
from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.runner import TILES

MIN_PHOTOGRAPHS = 4  # fewer do not cover the activation ranges
PRODUCTS = ["MatMul", "Gemm"]
# With Relu and Add the range is measured after the ReLU, without an unused negative half; only Conv costs 1.0 % of
# agreement on `tiny`.
STATIC = ["Conv", "Relu", "Clip", "Add", *PRODUCTS]
MAX_ERROR = 5e-5  # of a sum of two products in float32, in steps of its 8-bit result
SCALE_STEP = 1e-5  # relative; one scale in a few hundred is good


def quantise(source: Path, target: Path, tiles: Sequence[NDArray[np.uint8]], ranges: Path) -> str:
    """Quantise a graph to 8 bits: dynamically if matrix products outnumber convolutions, else statically.

    Static quantisation reads ONNX Runtime's calibration cache `ranges`, or writes it, where there are `tiles` uint8 [N,
    3, s, t] of photographs. Returns a description of the method, for the manifest.
    """
    onnx_runtime.require()
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    except ImportError as error:
        raise ExportError(f"8 bits need {error.name}: `pip install onnx`") from None

    graph = onnx.load(source)
    # The exporter records weight shapes from before it transposed them; the quantiser infers them again.
    graph.graph.ClearField("value_info")
    operators = Counter(node.op_type for node in graph.graph.node)
    products = sum(operators[name] for name in PRODUCTS)
    if operators["Conv"] <= products:
        with _quiet():
            quantize_dynamic(graph, target, PRODUCTS, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
        return "dynamic, 7-bit weights of matrix products"
    has_cache = "calibration_cache_path" in signature(quantize_static).parameters
    if not tiles and ranges.is_file():
        if not has_cache:
            raise ExportError("this ONNX Runtime cannot read activation ranges; install a newer one, or use --photos")
    elif len(tiles) < MIN_PHOTOGRAPHS:
        raise OptionError(
            f"8 bits need the ranges of this network's activations: give at least {MIN_PHOTOGRAPHS} photographs "
            f"with --photos FOLDER, got {len(tiles)}"
        )
    if tiles:
        ranges.unlink(missing_ok=True)  # otherwise the quantiser would read it
    cache = {"calibration_cache_path": ranges} if has_cache else {}
    try:
        _quantise_statically(graph, target, [{TILES: image_tiles} for image_tiles in tiles], STATIC, **cache)
    except Exception as error:
        if tiles:
            raise
        # Other exporter versions may name the tensors differently.
        raise ExportError(f"{ranges} does not fit the graph {source.name}: {error}") from error
    return f"static, 7-bit weights, {f'ranges of {len(tiles)} photographs' if tiles else 'ranges kept with the model'}"


def quantise_part(source: Path, target: Path, inputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Quantise the 3 x 3 convolutions of a part's graph, and the sums and ReLUs after them, calibrated on inputs."""
    import onnx

    graph = onnx.load(source)
    graph.graph.ClearField("value_info")
    convolutions = _convolutions(graph.graph)
    _quantise_statically(graph, target, inputs, ["Conv", "Relu", "Add"], nodes_to_quantize=convolutions)


def _quantise_statically(
    graph: Any, target: Path, inputs: Sequence[Mapping[str, NDArray[Any]]], operators: list[str], **options: Any
) -> None:
    """Quantise these operators of a graph, calibrated on inputs, by name; without any, ranges come by an option."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    batches = map(dict, inputs)
    reader = SimpleNamespace(get_next=lambda: next(batches, None))  # a CalibrationDataReader
    with _quiet():
        quantize_static(
            graph,
            target,
            reader if inputs else None,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=operators,
            **options,
        )
    _keep_sums_off_halves(target)


def _keep_sums_off_halves(path: Path) -> None:
    """Enlarge the scales of a graph's 8-bit sums until no two 8-bit values add up to halfway between two results."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    consumers = {name: node for node in model.graph.node for name in node.input}

    def parameters(node: Any) -> tuple[Any, Any]:
        """The scale and the zero point of a QuantizeLinear or DequantizeLinear."""
        scale, zero_point = (numpy_helper.to_array(tensors[name]) for name in node.input[1:])
        return scale, zero_point

    for node in model.graph.node:  # sorted: the scales of a sum's inputs are final
        inputs = [producers[name] for name in node.input if name in producers]
        if node.op_type == "Add" and [each.op_type for each in inputs] == ["DequantizeLinear"] * 2:
            one, other = ((np.arange(256.0) - zero) * scale for scale, zero in map(parameters, inputs))
            output = consumers[node.output[0]]
            scale = _scale_off_halves(np.add.outer(one, other), *parameters(output))
            tensors[output.input[1]].CopyFrom(numpy_helper.from_array(scale, output.input[1]))
    onnx.save(model, path)


def _scale_off_halves(
    sums: NDArray[np.float64], scale: NDArray[np.float32], zero_point: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """The scale [], or the next larger one, at which no quantised sum is within MAX_ERROR of a half."""
    while True:
        steps = sums / scale + zero_point
        if not np.any((np.abs(steps % 1 - 0.5) < MAX_ERROR) & (steps > -1) & (steps < 256)):
            return scale
        scale = np.asarray(scale * np.float32(1 + SCALE_STEP))


def _convolutions(graph: Any) -> list[str]:
    """Names of the 3 x 3 convolutions, and of the sums and ReLUs that directly follow them."""
    kernels = {tensor.name: tuple(tensor.dims[2:]) for tensor in graph.initializer}
    followers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            followers.setdefault(name, []).append(node)
    nodes = [node for node in graph.node if node.op_type == "Conv" and kernels.get(node.input[1]) == (3, 3)]
    for node in nodes:  # the loop also visits the nodes that it adds
        following = {"Conv": ("Add", "Relu"), "Add": ("Relu",), "Relu": ()}[node.op_type]
        nodes += [follower for follower in followers.get(node.output[0], []) if follower.op_type in following]
    return list({node.name: None for node in nodes})


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to optimise the graph first, which breaks these graphs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
