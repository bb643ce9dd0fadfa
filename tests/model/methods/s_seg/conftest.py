"""Makes timm importable before a test imports a module that does."""

import lexiseg_model.clip  # noqa: F401
