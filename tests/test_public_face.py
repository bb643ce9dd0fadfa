"""What the packages say of themselves, and the files that a stranger looks for first."""

import re
import tomllib
from typing import Any

import pytest

from tests.test_architecture import PACKAGES, ROOT


def project(path: str) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / path).read_text())
    return content


@pytest.mark.parametrize(
    "path",
    [
        "clients/python/LICENSE",
        "labels/LICENSE",
        "model/LICENSE",
        "model/NOTICE",
        "model/lexiseg_falcon/LICENSE",
        "model/lexiseg_train/LICENSE",
    ],
)
def test_the_terms_of_a_package_are_those_of_the_house(path: str) -> None:
    assert (ROOT / path).read_bytes() == (ROOT / path.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


# Where the version stands, each with what finds it.
VERSIONS = {
    "pyproject.toml": r'^version = "(.+?)"',
    "clients/python/pyproject.toml": r'^version = "(.+?)"',
    "labels/pyproject.toml": r'^version = "(.+?)"',
    "model/pyproject.toml": r'^version = "(.+?)"',
    "model/lexiseg_falcon/pyproject.toml": r'^version = "(.+?)"',
    "model/lexiseg_train/pyproject.toml": r'^version = "(.+?)"',
    "CHANGELOG.md": r"^## (\d\S+)",
    "Dockerfile": r"^ARG VERSION=(.+)$",
    "docker-compose.yml": r"\$\{VERSION:-(.+?)\}",
    "deploy/helm/lexiseg/Chart.yaml": r"^version: (.+)$",
}


@pytest.mark.parametrize("path", VERSIONS)
def test_every_file_says_the_version_of_the_package(path: str) -> None:
    first = re.search(VERSIONS[path], (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)

    assert first is not None
    assert first[1] == project("pyproject.toml")["project"]["version"]


def test_the_images_and_the_chart_name_one_version() -> None:
    in_images = set(re.findall(VERSIONS["Dockerfile"], (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    of_images = re.search(r'^appVersion: "(.+)"$', (ROOT / "deploy/helm/lexiseg/Chart.yaml").read_text(), re.MULTILINE)

    assert of_images is not None
    assert in_images == {of_images[1]}


def test_what_a_build_of_the_images_reads_is_let_in() -> None:
    """pyproject.toml names them: without them the build of an image fails."""
    named = {project("pyproject.toml")["project"]["readme"], *project("pyproject.toml")["project"]["license-files"]}
    let_in = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY pyproject\.toml.*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert named <= let_in
    assert len(copied) == 2
    assert all(named <= set(line.split()) for line in copied)
