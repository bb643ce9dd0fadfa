"""What computes an image pass (docs/performance.md); without numpy, as the command line starts with it."""

from typing import Literal

Runtime = Literal["auto", "torch", "onnx", "onnx-int8", "openvino", "tensorrt", "torch-compile"]
