"""Convolutions rewritten for ONNX Runtime Web give the bits of the bytes that they were."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lexiseg_model.export.manifest import FOLDER as GRAPHS
from lexiseg_model.export.wasm import rewritten
from lexiseg_model.methods.tiny.weights import FOLDER
from tests import pictures

BUNDLED = FOLDER / GRAPHS / "image.int8.onnx"
CHINA = np.asarray(pictures.photograph("china")).transpose(2, 0, 1)[None, :, :288, :384]
NOISE = np.random.default_rng(0).integers(0, 256, (1, 3, 96, 64), np.uint8)


def outputs(model: Any, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(None, {session.get_inputs()[0].name: image}))


def convolution(channels: int, kernel: int, bias: int, step: float = 1e-4, **attributes: Any) -> Any:
    """A model of one convolution of bytes [1, channels, H, W] with random weights; sums are in 1 to 4 steps."""
    random = np.random.default_rng(0)
    weights = random.integers(-64, 64, (4, channels // attributes["group"], kernel, kernel), np.int8)
    scales = np.array([1, 2, 3, 4], np.float32) * np.float32(step)
    tensors: dict[str, Any] = {
        **{"one": np.float32(1), "zero": np.uint8(3), "middle": np.uint8(128)},
        **{"weights": weights, "scales": scales, "zeros": np.zeros(4, np.int8)},
        **{"bias": np.full(4, bias, np.int32), "bias_zeros": np.zeros(4, np.int32)},
    }
    attributes |= {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4}
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bias", "scales", "bias_zeros"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes),
        helper.make_node("QuantizeLinear", ["y", "one", "middle"], ["bytes"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, channels, None, None])
    made = helper.make_tensor_value_info("bytes", TensorProto.UINT8, [1, 4, None, None])
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "convolution", [image], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("image", [NOISE, CHINA])
def test_the_bundled_image_pass_keeps_its_bits(image: NDArray[np.uint8]) -> None:
    expected = outputs(onnx.load(BUNDLED), image)

    model = rewritten(onnx.load(BUNDLED))

    assert "Conv" not in {node.op_type for node in model.graph.node}
    for output, bits in zip(outputs(model, image), expected, strict=True):
        np.testing.assert_array_equal(output, bits)


@pytest.mark.parametrize(
    ("model", "is_left"),
    [
        (convolution(8, 1, 10**9, group=1, strides=[1, 1]), False),  # products are of integers
        (convolution(8, 1, 500, group=1, strides=[2, 2]), False),
        (convolution(4, 3, -(10**9), group=4, strides=[1, 1]), False),  # the bias alone decides
        (convolution(4, 3, 2**24, 7e-6, group=4, strides=[1, 1]), True),
        (convolution(4096, 3, 0, 1e-6, group=1, strides=[1, 1]), True),
    ],
)
def test_sums_that_float32_would_change_are_left(model: Any, is_left: bool) -> None:
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    image = np.random.default_rng(1).integers(0, 256, (1, channels, 6, 8), np.uint8)
    (expected,) = outputs(model, image)

    made = rewritten(model)

    assert ("Conv" in {node.op_type for node in made.graph.node}) == is_left
    np.testing.assert_array_equal(outputs(made, image)[0], expected)
