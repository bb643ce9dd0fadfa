"""Export the image pass to ONNX and run it in ONNX Runtime."""
