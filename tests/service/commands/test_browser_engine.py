"""The page's engine and the graphs of the model that it runs."""

import re
from pathlib import Path

import lexiseg_service
from lexiseg_model.methods.tiny.graphs import TEMPLATES

ENGINE = Path(lexiseg_service.__file__).parent / "web" / "playground" / "engine"


def test_the_engine_runs_every_graph_and_no_other() -> None:
    code = "\n".join(path.read_text() for path in ENGINE.glob("*.js"))

    assert set(re.findall(r'\brun\("([\w-]+)"', code)) == {path.stem for path in TEMPLATES.iterdir()} | {"image"}
