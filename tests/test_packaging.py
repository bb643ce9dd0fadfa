"""What the six packages say of themselves and need, and what their code does and tells people to install."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tests.command import ended
from tests.requirements.package_names import project_of
from tests.test_architecture import PACKAGES, ROOT, modules, own_files

STUBS = ROOT / "clients/python/lexiseg_client/stubs"


HOMES = {
    "lexiseg": ".",
    "lexiseg-labels": "labels",
    "lexiseg-model": "model",
    "lexiseg-train": "model/lexiseg_train",
    "lexiseg-falcon": "model/lexiseg_falcon",
    "lexiseg-client": "clients/python",
}
SERVICE, LABELS, MODEL, TRAIN, FALCON, CLIENT = map(project_of, HOMES.values())
PROJECTS = {each["name"]: each for each in (SERVICE, LABELS, MODEL, TRAIN, FALCON, CLIENT)}
FOLDERS = {
    "lexiseg": "service/lexiseg_service",
    "lexiseg-labels": "labels/lexiseg_labels",
    "lexiseg-model": "model/lexiseg_model",
    "lexiseg-train": "model/lexiseg_train",
    "lexiseg-falcon": "model/lexiseg_falcon",
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
    "lexiseg_labels": "lexiseg-labels",
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
OF_THE_PROJECT = {"LICENSE", "pyproject.toml"}  # lexiseg_train's and lexiseg_falcon's, in the package's folder


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
    for project in (SERVICE, MODEL, TRAIN, FALCON):
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
        if each.marker is None and name not in PROJECTS:
            assert lowest(service[name]) >= lowest(each), name
            assert each.specifier.contains(pinned()[name]), name


def test_the_stubs_take_the_oldest_libraries_that_the_packages_allow() -> None:
    declared = [SERVICE["dependencies"], CLIENT["optional-dependencies"]["grpc"]]
    messages = [path.read_text() for path in STUBS.glob("*_pb2.py")]
    services = [path.read_text() for path in STUBS.glob("*_pb2_grpc.py")]

    protobuf = {found[1] for text in messages if (found := re.search(r"Protobuf Python Version: (\S+)", text))}
    grpcio = {found[1] for text in services if (found := re.search(r"GRPC_GENERATED_VERSION = '(\S+)'", text))}

    assert (len(messages), len(services)) == (2, 2)
    for lines in declared:
        wanted = requirements_of(lines)
        assert {lowest(wanted["protobuf"])} == {Version(version) for version in protobuf}
        assert {lowest(wanted["grpcio"])} == {Version(version) for version in grpcio}


PIP = """#!/bin/sh
case "$*" in
*torch*) exit 0 ;;
*" wheel "*) exit 2 ;;
setup.py*)
    echo 'gcc -O3 -Wall -c lexiseg_model/kernel/rle.c -o rle.o'
    echo 'warning: build_ext: building extension "lexiseg_model.kernel._kernel" failed: No such file: gcc' >&2
    exit 0 ;;
esac
echo 'Collecting fastapi<1,>=0.116'
echo '  writing lexiseg.egg-info/PKG-INFO' >&2
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
    kernel = ["  compiling the kernel: rle.c", "  no kernel (is a C compiler there?): numpy does its work"]
    assert [line for line in lines if line in kernel] == kernel  # at the same time as the libraries
    assert [line for line in lines if line not in kernel] == [
        "1 of 3: torch",
        "2 of 3: the libraries",
        "Collecting fastapi<1,>=0.116",
        "  ERROR: Could not install packages",
        "  no room on the device",
    ]
    assert "egg-info" not in made.stderr


TOOLS = ("make", "sh", "id", "basename")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`make` where there are these Pythons alone; each says its version."""

    def run(*words: str, pythons: dict[str, str]) -> subprocess.CompletedProcess[str]:
        programs = tmp_path / "programs"
        programs.mkdir()
        for tool in TOOLS:
            (programs / tool).symlink_to(shutil.which(tool) or tool)
        for name, version in pythons.items():
            told = f"import sys; sys.version_info = ({version.replace('.', ', ')}); exec(sys.argv.pop(1))"
            (programs / name).write_text(
                f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{told}" "$2"\nexit 1\n'
            )
            (programs / name).chmod(0o755)
        command = ["make", "--no-print-directory", f"VENV={tmp_path / 'venv'}", *words]
        return ended(command, cwd=ROOT, env={"PATH": str(programs)})

    return run


@pytest.mark.parametrize(
    ("pythons", "taken"),
    [
        ({"python3.11": "3.11", "python3.13": "3.13", "python3": "3.13"}, "python3.13"),
        ({"python3": "3.12"}, "python3"),
        ({"python3.14": "3.14", "python3.11": "3.11"}, "python3.14"),
        ({"python3.11": "3.11", "python3": "3.15"}, "python3.11"),
    ],
)
def test_make_takes_the_newest_python_that_the_packages_are_tried_with(
    pythons: dict[str, str], taken: str, make: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shown = make("--eval=show: ; @echo $(PYTHON);", "show", pythons=pythons)

    assert (shown.stdout, shown.stderr) == (f"{taken}\n", "")


@pytest.mark.parametrize("pythons", [{}, {"python3": "3.9"}, {"python3": "3.15"}], ids=["none", "older", "newer"])
def test_make_says_which_pythons_it_takes_where_there_is_none(
    pythons: dict[str, str], tmp_path: Path, make: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    made = make(f"{tmp_path / 'venv'}/bin/pip", pythons=pythons)

    assert made.returncode != 0
    assert made.stderr.startswith("no Python of 3.11 to 3.14 found")


def test_a_python_that_was_named_and_is_none_of_them_is_named_in_the_error(
    tmp_path: Path, make: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    made = make("PYTHON=python3.9", f"{tmp_path / 'venv'}/bin/pip", pythons={"python3.9": "3.9", "python3.11": "3.11"})

    assert made.stderr.startswith("python3.9 is not there, or no Python of 3.11 to 3.14")


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_a_package_names_the_pythons_that_it_is_tried_with(project: dict[str, Any]) -> None:
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]

    assert named[-len(VERSIONS) :] == list(VERSIONS)
    assert project["requires-python"] == f">={named[0]}"


def test_a_release_is_tried_with_every_python_that_most_distributions_bring() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())

    pythons = release["jobs"]["pythons"]

    assert pythons["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert [release["jobs"][name]["needs"] for name in ("wheels", "files", "images")] == ["pythons", "wheels", "files"]


@pytest.mark.parametrize("path", [*(f"{home}/LICENSE" for home in HOMES.values()), "model/NOTICE"])
def test_the_terms_of_a_package_are_those_of_the_house(path: str) -> None:
    assert (ROOT / path).read_bytes() == (ROOT / path.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize("package", FOLDERS.values())
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


# Where the version stands, each with what finds it.
PLACES = {
    **{f"{home}/pyproject.toml": r'^version = "(.+?)"' for home in HOMES.values()},
    "CHANGELOG.md": r"^## (\d\S+)",
    "Dockerfile": r"^ARG VERSION=(.+)$",
    "docker-compose.yml": r"\$\{VERSION:-(.+?)\}",
    "deploy/helm/lexiseg/Chart.yaml": r"^version: (.+)$",
}


@pytest.mark.parametrize("path", PLACES)
def test_every_file_says_the_version_of_the_package(path: str) -> None:
    first = re.search(PLACES[path], (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)

    assert first is not None
    assert first[1] == SERVICE["version"]


def test_the_images_and_the_chart_name_one_version() -> None:
    in_images = set(re.findall(PLACES["Dockerfile"], (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    of_images = re.search(r'^appVersion: "(.+)"$', (ROOT / "deploy/helm/lexiseg/Chart.yaml").read_text(), re.MULTILINE)

    assert of_images is not None
    assert in_images == {of_images[1]}


HINT = re.compile(r"pip install((?: +(?:--[a-z-]+|[A-Za-z0-9_.=\[\]'-]+))+)")
EXTRA = re.compile(r"""pip install ["']lexiseg\[(\w+)\]""")  # of lexiseg, which is there where it is said


def known() -> set[str]:
    # What these are for works without them.
    names: set[str] = {"fiftyone", "gcsfs", "scikit-learn", "sentencepiece", "tensorboard", "tensorrt"}
    names |= {"cvat-cli", "cvat-sdk", "labelme"}  # tools that load a module of the client
    for project in PROJECTS.values():
        names |= {name_of(line) for line in [*project["dependencies"], *extras_of(project)]}
    return names - PROJECTS.keys()  # which no index has


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

    assert len(named) >= 6
    assert named - SERVICE["optional-dependencies"].keys() == set()
