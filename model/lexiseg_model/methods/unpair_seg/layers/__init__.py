"""Parts of the Unpair-Seg network."""

import lexiseg_model.clip  # noqa: F401  declares what timm needs
