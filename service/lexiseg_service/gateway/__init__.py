"""The gateway: checks, limits, relays. Knows no torch."""
