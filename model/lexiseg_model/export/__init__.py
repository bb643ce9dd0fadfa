"""The image pass outside torch: written as ONNX, run by ONNX Runtime."""
