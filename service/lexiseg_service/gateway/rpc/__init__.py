"""The gateway over gRPC: servicer, video streams, what surrounds each call."""
