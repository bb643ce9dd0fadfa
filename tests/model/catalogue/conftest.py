from tests.model.acme import acme

__all__ = ["acme"]
