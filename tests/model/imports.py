"""Files of others imported as `lexiseg models import` does it, by keyword."""

from pathlib import Path
from typing import Any

from lexiseg_model.catalogue.importing import import_model, importable, read_options


def imported(method: str, name: str, models_dir: Path, *, replace: bool = False, **files: Any) -> Path:
    chosen = importable()[method]
    return import_model(chosen, name, read_options(chosen, files), models_dir, replace)
