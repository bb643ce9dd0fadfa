"""The Open Inference Protocol (KServe's V2, Triton's) over REST at /v2 with its binary tensors, and over gRPC."""

from lexiseg_service.adapters.kserve.routes import router as router
