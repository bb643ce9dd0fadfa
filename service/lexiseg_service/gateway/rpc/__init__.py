"""The gateway over gRPC: servicer, messages, interceptor."""
