"""Models by name: cards, the methods behind them, weights on disk, import, and exchange with a store."""

from lexiseg_model.catalogue.models import (
    CARD,
    ModelFolder,
    bundled,
    cards,
    export_folder,
    find,
    folders,
    load,
    load_folder,
    read_card,
    require,
    weight_files,
)

__all__ = [
    "CARD",
    "ModelFolder",
    "bundled",
    "cards",
    "export_folder",
    "find",
    "folders",
    "load",
    "load_folder",
    "read_card",
    "require",
    "weight_files",
]
