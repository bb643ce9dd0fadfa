"""The worker's gRPC server."""
