"""Heads as gateways keep them."""
