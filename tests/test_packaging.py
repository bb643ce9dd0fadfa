"""What the two packages say they need, and what their code does."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
STUBS = ROOT / "clients/python/lexiseg_client/stubs"


def project_of(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


SERVICE, CLIENT = project_of(ROOT), project_of(ROOT / "clients/python")


def requirements_of(lines: list[str]) -> dict[str, Requirement]:
    return {each.name.lower(): each for each in map(Requirement, lines)}


def lowest(requirement: Requirement) -> Version:
    return max(Version(part.version) for part in requirement.specifier if part.operator == ">=")


def pinned() -> dict[str, Version]:
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {name.lower().replace("_", "-"): Version(version) for name, version in (line.split("==") for line in lines)}


def test_every_dependency_is_bounded_from_below_and_takes_the_pinned_version() -> None:
    pins = pinned()
    wanted = requirements_of(SERVICE["dependencies"])

    assert [name for name, each in wanted.items() if not any(part.operator == ">=" for part in each.specifier)] == []
    assert [name for name, each in wanted.items() if not each.specifier.contains(pins[name])] == []


def test_the_clients_libraries_are_among_the_services_that_carries_it() -> None:
    service = requirements_of(SERVICE["dependencies"])
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
echo 'Collecting fastapi<1,>=0.116'
echo '  writing lexiseg.egg-info/PKG-INFO' >&2
echo '  gcc -O3 -Wall -c model/lexiseg_model/kernel/rle.c -o rle.o' >&2
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
    assert lines[0] == "Collecting fastapi<1,>=0.116"
    assert re.fullmatch(r"  compiling the kernel: 1 of \d+", lines[1])
    assert lines[2:] == ["  ERROR: Could not install packages", "  no room on the device"]
    assert "egg-info" not in made.stderr
