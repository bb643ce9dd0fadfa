"""Writes the graphs that are bundled with `tiny`: `python -m lexiseg_model.methods.tiny.training.graphs`.

Needs onnx and onnxscript. To be run, and its files committed, whenever the bundled weights change.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import FOLDER, MANIFEST, RANGES
from lexiseg_model.export.write import add_int8, export
from lexiseg_model.methods.tiny import weights


def write(folder: Path, model: Path = weights.FOLDER) -> None:
    """Writes the 8-bit image pass and the prompt graphs of a model directory, which holds its ranges, to a folder."""
    segmenter = catalogue.load_folder(model, "cpu", "exact")
    assert isinstance(segmenter, Exportable)
    with tempfile.TemporaryDirectory() as draft:
        made = add_int8(Path(draft), export(segmenter, Path(draft)), (), model / RANGES)
        made = made.model_copy(update={"graphs": [*made.of("int8"), *made.parts]})
        folder.mkdir(exist_ok=True)
        for graph in made.graphs:
            shutil.copyfile(Path(draft, graph.file), folder / graph.file)
    (folder / MANIFEST).write_text(made.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    write(weights.FOLDER / FOLDER)
