"""What we tell people to install is what the project itself can use, by names that a package index has."""

import re
import tomllib

from tests.test_architecture import PACKAGES, ROOT, modules, own_files

HINT = re.compile(r"pip install((?: +(?:--[a-z-]+|[A-Za-z0-9_.=\[\]'-]+))+)")
OWN = {
    "lexiseg",
    "lexiseg-client",
    "lexiseg-falcon",
    "lexiseg-labels",
    "lexiseg-model",
    "lexiseg-train",
}  # no index has them
EXTRA = re.compile(r"""pip install ["']lexiseg\[(\w+)\]""")  # of lexiseg, which is there where it is said


def known() -> set[str]:
    # What these are for works without them.
    names: set[str] = {"fiftyone", "gcsfs", "scikit-learn", "sentencepiece", "tensorboard", "tensorrt"}
    names |= {"cvat-cli", "cvat-sdk", "labelme"}  # tools that load a module of the client
    for folder in (".", "labels", "model", "model/lexiseg_train", "model/lexiseg_falcon", "clients/python"):
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        extras = project.get("optional-dependencies", {}).values()
        names |= {name_of(line) for line in [*project["dependencies"], *(line for extra in extras for line in extra)]}
    return names - OWN


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")


def test_a_hint_names_packages_that_an_index_has() -> None:
    sources = [path for root in PACKAGES for path in modules(root)]
    hints = [
        (path.relative_to(ROOT).as_posix(), name_of(word.strip("'`")))
        for path in sources
        for found in HINT.findall(path.read_text(encoding="utf-8"))
        for word in found.split()
        if not word.startswith("-")
    ]

    assert len(hints) >= 6
    assert [hint for hint in hints if hint[1] not in known()] == []


def test_a_hint_names_extras_that_there_are() -> None:
    texts = [path for path in own_files() if path.suffix in (".md", ".py")]
    named = {extra for path in texts for extra in EXTRA.findall(path.read_text(encoding="utf-8"))}

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert len(named) >= 6
    assert named - extras.keys() == set()
