"""The calls over gRPC."""
