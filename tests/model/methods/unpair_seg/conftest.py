"""Makes open_clip importable before a test imports it by itself."""

import lexiseg_model.clip  # noqa: F401
