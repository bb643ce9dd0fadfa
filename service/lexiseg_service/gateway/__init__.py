"""The gateway: checks, limits and relays requests. Never imports torch."""
