"""What `make serve` installs: a list without what its packages ask for and the service never imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from lexiseg_model.catalogue.method import INSTALL, names_missing_library
from lexiseg_model.errors import OptionError
from tests.requirements.package_names import ROOT, canonical, closure, project_of

PACKAGES = (".", "model", "clients/python")
OWN = {"lexiseg", "lexiseg-client", "lexiseg-labels", "lexiseg-model"}
LEFT_OUT = {"huggingface-hub", "sentence-transformers"}
PHOTOGRAPHS = {"scikit-image", "scikit-learn"}  # of `lexiseg sample` and of the page's first screen

# Imports of any other library fail, as where it is not installed.
ONLY_LISTED = """
import sys
from importlib import metadata

def canonical(name):
    return name.replace("_", "-").replace(".", "-").lower()

allowed = {allowed!r}
by_module = metadata.packages_distributions()

class Others:
    def find_spec(self, name, path=None, target=None):
        owners = by_module.get(name, ())
        if owners and not allowed & set(map(canonical, owners)):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Others())
sys.argv[0] = "lexiseg"
from lexiseg_service.cli import main
main()
"""


def listed() -> set[str]:
    lines = (ROOT / "requirements/serve.txt").read_text().splitlines()
    return {canonical(line) for line in lines if line and not line.startswith("#")}


def lexiseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where nothing but the list is installed."""
    allowed = listed() - PHOTOGRAPHS | closure(["torch"]) | OWN
    code = ONLY_LISTED.format(allowed=allowed)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_list_is_what_the_packages_need_beside_torch() -> None:
    needed = [line for folder in PACKAGES for line in project_of(folder)["dependencies"]]

    beside = closure(needed, OWN | LEFT_OUT) - closure(["torch"])

    assert listed() == beside | PHOTOGRAPHS


def test_the_bundled_model_needs_nothing_else(tmp_path: Path) -> None:
    photograph = ROOT / "docs/pictures/china.png"

    done = lexiseg("segment", str(photograph), "-c", "sky", "--out", str(tmp_path / "out"))

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out/annotations/instances_default.json").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "docs/pictures/china.png", "-c", "sky", "--model", "dense-clip"],
        ["models", "import", "--method", "tcl", "mine"],
    ],
    ids=["serving", "importing"],
)
def test_another_method_names_its_extra_in_one_sentence(arguments: list[str]) -> None:
    done = lexiseg(*arguments)

    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert "method dense_clip needs " in line
    assert line.endswith(f", which is not installed: {INSTALL}")


def test_the_sentence_installs_the_extra() -> None:
    extras = project_of("model")["optional-dependencies"]

    assert INSTALL.removeprefix("pip install ").split() == [canonical(line) for line in extras["clip"]]


def test_a_library_of_no_extra_stays_an_error_of_imports() -> None:
    with pytest.raises(ModuleNotFoundError), names_missing_library("a method", OptionError):
        raise ModuleNotFoundError("No module named 'acme'", name="acme")
