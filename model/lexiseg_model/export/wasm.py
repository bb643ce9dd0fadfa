"""Rewrite the 8-bit convolutions of a graph for ONNX Runtime Web: the same bits in half the time.

Its WebAssembly has no vector code for depthwise convolutions of bytes, nor to round the sums of any convolution to
bytes. It has for convolutions in float32, for products of matrices and for QuantizeLinear. So a 1 x 1 convolution
becomes a product of 8-bit matrices, and any other one a float32 convolution of whole numbers; QuantizeLinear rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from lexiseg_model.export.int8 import MAX_ERROR

EXACT = 2**24  # float32 holds all whole numbers up to here
RUNTIME = "com.microsoft"  # ONNX Runtime's own operators; its optimiser would merge an ONNX Conv with what follows
Inputs = tuple[str, str, str, str]  # names of a convolution's image, its zero, weights, and bias or ""


def rewritten(model: Any) -> Any:
    """An ONNX model with the same outputs, made of `model`, which is spent."""
    graph = _Graph(model.graph)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if not graph.add_rewritten(node):
            model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid(RUNTIME, 1))
    names = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    return Extractor(model).extract_model(*names)  # without what is not used any more


class _Graph:
    """A graph, to which nodes and tensors are added."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._one = self._constant(np.float32(1))

    def add_rewritten(self, node: Any) -> bool:
        """Add what gives the same bytes, if this node ends a convolution of bytes and float32 changes no bit of it."""
        producer = self._producers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if producer is None or producer.op_type != "Conv":
            return False
        sources = [self._producers[name] for name in producer.input if name in self._producers]
        if [source.op_type for source in sources] != ["DequantizeLinear"] * len(producer.input):
            return False
        (image, step, zero), (weights, weight_steps, _), *biases = (source.input for source in sources)
        inputs = (image, zero, weights, biases[0][0] if biases else "")
        # The factors of sums, in ONNX Runtime's order of operations.
        scales = self._values[step] * self._values[weight_steps] / self._values[node.input[1]]
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in producer.attribute}
        of_cells = attributes["kernel_shape"] == attributes["strides"] == [1, 1] and not any(attributes["pads"])
        if of_cells and attributes["group"] == 1:
            self._multiply(inputs, scales, node)
        elif self._is_exact(inputs, scales, node):
            self._convolve(inputs, scales, node, attributes)
        else:
            return False
        return True

    def _is_exact(self, inputs: Inputs, scales: NDArray[np.float32], rounding: Any) -> bool:
        """Whether a channel's sums are whole numbers in float32, or are all rounded to one byte, for all channels."""
        weights, zero = self._values[inputs[2]].astype(np.int64), int(self._values[inputs[1]])
        bias = self._values.get(inputs[3], np.zeros(1)).astype(np.int64)
        ends = [weights * (value - zero) for value in (0, 255)]
        low, high = (pick(*ends).sum((1, 2, 3)) for pick in (np.minimum, np.maximum))
        whole = np.abs(bias) + np.maximum(-low, high) < EXACT
        steps = (low + bias) * scales - MAX_ERROR, (high + bias) * scales + MAX_ERROR
        first, last = (np.clip(np.rint(end) + int(self._values[rounding.input[2]]), 0, 255) for end in steps)
        return bool(np.all(whole | (first == last)))

    def _multiply(self, inputs: Inputs, scales: NDArray[np.float32], rounding: Any) -> None:
        """Add a convolution as a product of matrices."""
        image, zero, weights, bias = inputs
        n, k = self._values[weights].shape[:2]
        pixels = self._add("Transpose", image, perm=[0, 2, 3, 1])
        rows = self._add("Reshape", pixels, self._constant(np.array([-1, k])))
        matrix = self._add("Reshape", weights, self._constant(np.array([n, k])))
        factors = rows, self._one, zero, matrix, self._constant(scales), self._constant(np.zeros(n, np.int8))
        steps = self._add("QGemm", *factors, bias, domain=RUNTIME, transB=1)
        rounded = self._add("QuantizeLinear", steps, self._one, rounding.input[2])
        shape = self._add("Concat", self._add("Shape", pixels, end=3), self._constant(np.array([n])), axis=0)
        self._add("Transpose", self._add("Reshape", rounded, shape), perm=[0, 3, 1, 2], output=rounding.output[0])

    def _convolve(self, inputs: Inputs, scales: NDArray[np.float32], rounding: Any, attributes: dict[str, Any]) -> None:
        image, zero, weights, bias = (name and self._add("Cast", name, to=TensorProto.FLOAT) for name in inputs)
        sums = self._add("FusedConv", self._add("Sub", image, zero), weights, bias, domain=RUNTIME, **attributes)
        steps = self._add("Mul", sums, self._constant(scales[:, None, None]))
        self._add("QuantizeLinear", steps, self._one, rounding.input[2], output=rounding.output[0])

    def _add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"wasm_{operator}_{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def _constant(self, value: Any) -> str:
        name = f"wasm_{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name
