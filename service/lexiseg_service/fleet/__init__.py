"""The workers of a gateway: discovery, routing, calls, failover."""
