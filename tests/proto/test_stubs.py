"""The generated stubs are those of the .proto files."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "proto/generate.py"
RENEW = "python proto/generate.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stubs_are_those_of_the_proto_files(generator: ModuleType, tmp_path: Path) -> None:
    generator.generate(tmp_path)

    made, kept = tmp_path / generator.TARGET, ROOT / generator.TARGET
    fresh = {path.name: path.read_text() for path in made.iterdir()}
    assert len(fresh) > 4
    assert {path.name: path.read_text() for path in kept.glob("*.py*")} == fresh, f"run {RENEW}"
