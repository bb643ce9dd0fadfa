"""The example of a method of one's own passes the suite of methods, and needs the promised interface alone."""

from test_palette import TestPalette as TestPalette

from tests.test_architecture import ROOT, imported_by

PROMISED = ("lexiseg_model", "lexiseg_model.testing")


def test_the_example_imports_the_promised_interface_alone() -> None:
    sources = sorted((ROOT / "examples/palette").rglob("*.py"))

    origins = {origin for path in sources for origin in imported_by(path) if origin.startswith("lexiseg_model")}

    assert len(sources) >= 3
    assert origins <= set(PROMISED)
