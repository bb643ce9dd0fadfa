"""What the four packages say they need, and what their code does."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
STUBS = ROOT / "clients/python/lexiseg_client/stubs"


def project_of(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


HOMES = {
    "lexiseg": ".",
    "lexiseg-model": "model",
    "lexiseg-train": "model/lexiseg_train",
    "lexiseg-client": "clients/python",
}
SERVICE, MODEL, TRAIN, CLIENT = (project_of(ROOT / home) for home in HOMES.values())
PROJECTS = {each["name"]: each for each in (SERVICE, MODEL, TRAIN, CLIENT)}
FOLDERS = {
    "lexiseg": "service/lexiseg_service",
    "lexiseg-model": "model/lexiseg_model",
    "lexiseg-train": "model/lexiseg_train",
    "lexiseg-client": "clients/python/lexiseg_client",
}
RUNS_IN = {"cvat-sdk", "osam", "urllib3"}  # in whose environments modules of the client run
# Modules of a distribution that has another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "google": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "lexiseg_client": "lexiseg-client",
    "lexiseg_model": "lexiseg-model",
    "lexiseg_service": "lexiseg",
    "open_clip": "open-clip-torch",
    "pydantic_core": "pydantic",
    "yaml": "pyyaml",
}


def requirements_of(lines: list[str]) -> dict[str, Requirement]:
    return {each.name.lower(): each for each in map(Requirement, lines)}


def lowest(requirement: Requirement) -> Version:
    return max(Version(part.version) for part in requirement.specifier if part.operator == ">=")


def pinned() -> dict[str, Version]:
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {name.lower().replace("_", "-"): Version(version) for name, version in (line.split("==") for line in lines)}


def needed(project: dict[str, Any], extra: str = "") -> dict[str, Requirement]:
    """What a package needs, with one extra, and of our other packages what they need in turn."""
    wanted = requirements_of([*project["dependencies"], *project.get("optional-dependencies", {}).get(extra, [])])
    for name in set(wanted) & set(PROJECTS):
        [extra] = wanted[name].extras or [""]
        wanted |= needed(PROJECTS[name], extra)
    return wanted


@pytest.mark.parametrize("name", PROJECTS)
def test_every_dependency_is_bounded_from_below_and_takes_the_pinned_version(name: str) -> None:
    pins = pinned()
    own = {one: Version(project["version"]) for one, project in PROJECTS.items()}
    wanted = requirements_of(PROJECTS[name]["dependencies"])

    assert {one for one in set(wanted) & set(own) if str(wanted[one].specifier) != f"=={own[one]}"} == set()
    wanted = {one: each for one, each in wanted.items() if one not in own and each.marker is None}
    assert [name for name, each in wanted.items() if not any(part.operator == ">=" for part in each.specifier)] == []
    assert [name for name, each in wanted.items() if not each.specifier.contains(pins[name])] == []


@pytest.mark.parametrize("name", PROJECTS)
def test_a_package_names_the_libraries_that_its_modules_import(name: str) -> None:
    project = PROJECTS[name]
    named = {name, *requirements_of([*project["dependencies"], *extras_of(project)])}
    if name == "lexiseg-train":  # its commands are found by the service, which asks servers through the client
        named |= {"lexiseg-client"}

    imported = {
        DISTRIBUTIONS.get(module, module.replace("_", "-"))
        for path in (ROOT / FOLDERS[name]).rglob("*.py")
        for module in modules_at_the_top_of(path) - sys.stdlib_module_names
    }

    assert imported - named - RUNS_IN == set()


def extras_of(project: dict[str, Any]) -> list[str]:
    """What extras need, those of our other packages included."""
    lines = [line for extra in project.get("optional-dependencies", {}).values() for line in extra]
    ours = [PROJECTS[each.name] for each in map(Requirement, lines) if each.name in PROJECTS and each.extras]
    return [*lines, *(line for each in ours if each is not project for line in extras_of(each))]


def modules_at_the_top_of(path: Path) -> set[str]:
    """Roots of what a module imports when it is imported, not in its functions or for types alone."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


LEFT_BEHIND = {".py", ".c", ".h", ".so", ".pyc"}  # modules are taken along anyway, the kernel is built
OF_THE_PROJECT = {"LICENSE", "pyproject.toml"}  # lexiseg_train's, in its package's folder


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_takes_along_every_file_of_its_package(name: str) -> None:
    content = tomllib.loads((ROOT / HOMES[name] / "pyproject.toml").read_text())
    patterns = [Path(pattern) for pattern in content["tool"]["setuptools"]["package-data"]["*"]]
    taken = LEFT_BEHIND | {pattern.suffix for pattern in patterns if pattern.name.startswith("*")}
    named = OF_THE_PROJECT | {pattern.name for pattern in patterns}

    files = [path for path in (ROOT / FOLDERS[name]).rglob("*") if path.is_file()]

    assert files
    assert [path for path in files if path.suffix not in taken and path.name not in named] == []


def test_a_library_has_the_same_bounds_in_every_package_of_the_service() -> None:
    bounds: dict[str, set[str]] = {}
    for project in (SERVICE, MODEL, TRAIN):
        for name, each in requirements_of(project["dependencies"]).items():
            bounds.setdefault(name, set()).add(str(each.specifier))

    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def test_the_service_brings_nothing_of_training() -> None:
    assert "lexiseg-train" not in needed(SERVICE)
    assert {"jinja2", "pandas", "matplotlib"}.isdisjoint(needed(SERVICE))


def test_the_clients_libraries_are_among_the_services_that_carries_it() -> None:
    service = needed(SERVICE)
    client = requirements_of([*CLIENT["dependencies"], *CLIENT["optional-dependencies"]["grpc"]])

    for name, each in client.items():
        if each.marker is None:
            assert lowest(service[name]) >= lowest(each), name
            assert each.specifier.contains(pinned()[name]), name


def test_the_stubs_take_the_oldest_libraries_that_the_packages_allow() -> None:
    declared = [SERVICE["dependencies"], CLIENT["optional-dependencies"]["grpc"]]
    messages = [path.read_text() for path in STUBS.glob("*_pb2.py")]
    services = [path.read_text() for path in STUBS.glob("*_pb2_grpc.py")]

    protobuf = {found[1] for text in messages if (found := re.search(r"Protobuf Python Version: (\S+)", text))}
    grpcio = {found[1] for text in services if (found := re.search(r"GRPC_GENERATED_VERSION = '(\S+)'", text))}

    assert (len(messages), len(services)) == (3, 3)
    for lines in declared:
        wanted = requirements_of(lines)
        assert {lowest(wanted["protobuf"])} == {Version(version) for version in protobuf}
        assert {lowest(wanted["grpcio"])} == {Version(version) for version in grpcio}


PIP = """#!/bin/sh
case "$*" in *torch*) exit 0;; esac
echo 'Collecting fastapi<1,>=0.116'
echo '  writing lexiseg.egg-info/PKG-INFO' >&2
echo '  gcc -O3 -Wall -c lexiseg_model/kernel/rle.c -o rle.o' >&2
echo '  ERROR: Could not install packages' >&2
echo '  no room on the device' >&2
exit 1
"""


def test_make_serve_prints_packages_files_of_the_kernel_and_errors_alone(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    (tmp_path / "bin" / "pip").touch()
    python.write_text(PIP)
    python.chmod(0o755)

    made = subprocess.run(
        ["make", "--no-print-directory", f"VENV={tmp_path}", f"{tmp_path}/.serve"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    first, *lines = made.stdout.splitlines()
    assert made.returncode != 0
    assert first.startswith("Installing lexiseg")
    assert lines[:3] == ["1 of 3: torch", "2 of 3: the libraries", "Collecting fastapi<1,>=0.116"]
    assert re.fullmatch(r"  compiling the kernel: 1 of \d+", lines[3])
    assert lines[4:] == ["  ERROR: Could not install packages", "  no room on the device"]
    assert "egg-info" not in made.stderr
