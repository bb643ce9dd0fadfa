"""Makes open_clip importable before a test imports it by itself."""

import model.clip  # noqa: F401
