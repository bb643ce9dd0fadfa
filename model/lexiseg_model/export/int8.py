"""8-bit graphs from a float32 one, for CPUs.

Two ways. *Static*: weights and activations in 8 bits, with the ranges of the activations measured on photographs,
once: they are kept in a file, and with it nobody needs the photographs any more; for convolutional networks. *Dynamic*:
weights of matrix products in 8 bits, ranges taken anew for each input; for transformers, and no photographs are needed.
Dynamic convolutions are slower than float32 ones, so that is refused.

Weights keep to 7 bits: x86 processors without VNNI add pairs of products in 16 bits, which 8-bit weights overflow. So
one graph is right everywhere and gives the same answers.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import ExportError, OptionError
from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.runner import TILES

MIN_PHOTOGRAPHS = 4  # fewer do not show what ranges to expect
PRODUCTS = ["MatMul", "Gemm"]
# Relu and Add beside Conv: the range is then taken behind the ReLU, where the negative half is not wasted. With Conv
# alone 1.0 % fewer labels of `tiny` agree.
STATIC = ["Conv", "Relu", "Add", *PRODUCTS]


def quantise(source: Path, target: Path, tiles: Sequence[NDArray[np.uint8]], ranges: Path) -> str:
    """Writes the 8-bit form of a graph.

    Args:
        source: float32 graph.
        target: file to write.
        tiles: [N, 3, s, t] each, of photographs, for the ranges of a convolutional network; others need none.
        ranges: file of these ranges, as ONNX Runtime keeps them: read where there are no photographs, else written.

    Returns:
        How it was done, for the manifest.

    Raises:
        OptionError: too few photographs, or none and no ranges, for a convolutional network.
        ExportError: ONNX Runtime is not there, or keeps no ranges, or they are of another graph.
    """
    onnx_runtime.require()
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    except ImportError as error:
        raise ExportError(f"8 bits need {error.name}: `pip install onnx`") from None

    graph = onnx.load(source)
    # The exporter notes shapes of weights as they were before it transposed them; the quantiser infers them anew.
    graph.graph.ClearField("value_info")
    operators = Counter(node.op_type for node in graph.graph.node)
    products = sum(operators[name] for name in PRODUCTS)
    options: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": QuantType.QInt8}
    if operators["Conv"] <= products:
        with _quiet():
            quantize_dynamic(graph, target, op_types_to_quantize=PRODUCTS, **options)
        return "dynamic, 7-bit weights of matrix products"
    keeping = "calibration_cache_path" in signature(quantize_static).parameters
    if not tiles and ranges.is_file():
        if not keeping:
            raise ExportError("this ONNX Runtime cannot read ranges; a newer one, or photographs, would do")
    elif len(tiles) < MIN_PHOTOGRAPHS:
        raise OptionError(
            f"8 bits need the ranges of this network's activations: give at least {MIN_PHOTOGRAPHS} photographs "
            f"with --photos FOLDER, got {len(tiles)}"
        )
    if tiles:
        ranges.unlink(missing_ok=True)  # else they would be read
    if keeping:
        options["calibration_cache_path"] = ranges
    try:
        with _quiet():
            quantize_static(
                graph,
                target,
                _Inputs({TILES: each} for each in tiles) if tiles else None,
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                op_types_to_quantize=STATIC,
                **options,
            )
    except Exception as error:
        if tiles:
            raise
        # Another exporter may name a graph's tensors otherwise; what is missing, or no ranges at all, it says so or so.
        raise ExportError(f"{ranges} does not fit the graph {source.name}: {error}") from error
    return f"static, 7-bit weights, {f'ranges of {len(tiles)} photographs' if tiles else 'ranges kept with the model'}"


def quantise_part(source: Path, target: Path, inputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Writes a graph with its 3 x 3 convolutions, and the sums and ReLUs behind them, in 8 bits; all else in float32.

    Args:
        source: float32 graph of a part.
        target: file to write.
        inputs: what the part is given, by name, for the ranges of activations.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    graph = onnx.load(source)
    graph.graph.ClearField("value_info")
    with _quiet():
        quantize_static(
            graph,
            target,
            _Inputs(inputs),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["Conv", "Relu", "Add"],
            nodes_to_quantize=_convolutions(graph.graph),
        )


def _convolutions(graph: Any) -> list[str]:
    """Names of the 3 x 3 convolutions, and of the sums and ReLUs that directly follow them."""
    kernels = {tensor.name: tuple(tensor.dims[2:]) for tensor in graph.initializer}
    followers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            followers.setdefault(name, []).append(node)
    found = [node for node in graph.node if node.op_type == "Conv" and kernels.get(node.input[1]) == (3, 3)]
    for node in found:  # grows meanwhile
        after = {"Conv": ("Add", "Relu"), "Add": ("Relu",), "Relu": ()}[node.op_type]
        found += [each for each in followers.get(node.output[0], []) if each.op_type in after]
    return list({node.name: None for node in found})


class _Inputs:
    """What the quantiser reads its ranges from."""

    def __init__(self, inputs: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        inputs = next(self._inputs, None)
        return None if inputs is None else dict(inputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises on the root logger to optimise the graph first; that step breaks these graphs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
