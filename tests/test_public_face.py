"""What the packages say of themselves, and the files that a stranger looks for first."""

import re
import tomllib
from typing import Any

import pytest

from tests.test_architecture import CLIENT, MODEL, ROOT, SERVICE

PROJECTS = ("pyproject.toml", "clients/python/pyproject.toml")


def project(path: str) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / path).read_text())
    return content


def test_the_clients_licence_is_that_of_the_house() -> None:
    assert (ROOT / "clients/python/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("package", [MODEL, SERVICE, CLIENT])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("path", PROJECTS)
def test_the_version_comes_from_the_tag(path: str) -> None:
    content = project(path)

    assert content["project"]["dynamic"] == ["version"]
    assert "version" not in content["project"]
    assert content["tool"]["setuptools_scm"]["fallback_version"]


def test_both_packages_and_the_images_fall_back_to_one_version() -> None:
    fallbacks = {project(path)["tool"]["setuptools_scm"]["fallback_version"] for path in PROJECTS}
    in_images = set(re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))

    assert len(fallbacks) == 1
    assert in_images == fallbacks


def test_what_a_build_of_the_images_reads_is_let_in() -> None:
    """pyproject.toml names them: without them the build of an image fails."""
    named = {project("pyproject.toml")["project"]["readme"], *project("pyproject.toml")["project"]["license-files"]}
    let_in = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY .*pyproject\.toml.*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert named <= let_in
    assert len(copied) == 2
    assert all(named <= set(line.split()) for line in copied)
