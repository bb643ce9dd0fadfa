"""What the images install: every package by hash, in the versions of constraints.txt; the list of what is inside."""

import json
import re
import runpy
import subprocess
import sys
from importlib import metadata

import pytest

from tests.requirements.package_names import ROOT, canonical, closure, project_of

REQUIREMENTS = ROOT / "requirements"
OWN = {"lexiseg", "lexiseg-client", "lexiseg-labels", "lexiseg-model", "lexiseg-train"}
LOCKS = sorted(path.stem for path in REQUIREMENTS.glob("*.lock"))
PINNED = re.compile(
    r"^([a-z0-9.-]+)==(\S+)(?: ; [^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE
)


def locked(name: str) -> dict[str, str]:
    """Versions by package; each of them has hashes."""
    written = (REQUIREMENTS / f"{name}.lock").read_text()
    packages = {package: version for package, version, _ in PINNED.findall(written)}
    assert len(packages) == len(re.findall(r"^[a-z0-9]", written, re.MULTILINE))
    return packages


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonical(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


@pytest.mark.parametrize("name", LOCKS)
def test_a_list_has_the_versions_of_the_constraints(name: str) -> None:
    pinned = constraints()

    assert {
        package: version for package, version in locked(name).items() if pinned.get(package, version) != version
    } == {}


@pytest.mark.parametrize("name", LOCKS)
def test_torch_is_in_no_list(name: str) -> None:
    """It comes from its own index."""
    assert not {"torch", "torchvision"} & set(locked(name))


def test_the_bill_of_materials_names_what_is_installed() -> None:
    document = runpy.run_path(str(REQUIREMENTS / "sbom.py"))["document"]("lexiseg-worker", "1.2.3")
    components = {component["name"]: component for component in document["components"]}

    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["component"]["version"] == "1.2.3"
    assert components["numpy"]["purl"] == f"pkg:pypi/numpy@{constraints()['numpy']}"
    assert components["pytest"]["licenses"]


IMPORTED = """
import json, sys
import lexiseg_service.adapters.mcp
import lexiseg_service.commands.serving.gateway
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
# What those use where it is installed, and do without elsewhere.
OPTIONAL = {"attrs", "brotli", "cryptography", "greenlet", "grpcio-tools", "psutil", "setuptools", "tornado"}


def listed(name: str = "gateway") -> set[str]:
    """What a list of names asks for, those of the lists that it takes in included."""
    lines = [line for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines() if line and line[0] != "#"]
    taken_in = [line.removeprefix("-r ").removesuffix(".txt") for line in lines if line.startswith("-r ")]
    named = {canonical(line) for line in lines if not line.startswith("-")}
    return named.union(*map(listed, taken_in))


@pytest.mark.parametrize("name", [name for name in LOCKS if (REQUIREMENTS / f"{name}.txt").is_file()])
def test_a_lock_has_all_that_its_list_names(name: str) -> None:
    assert listed(name) - set(locked(name)) == set()


def test_the_workers_locks_are_resolved_from_the_folders_of_our_packages() -> None:
    """No index has them."""
    script = (REQUIREMENTS / "lock.sh").read_text()

    assert {
        folder for folder in ("./model", "./model/lexiseg_train", "./clients/python") if f" {folder} " not in script
    } == set()
    assert [name for name in OWN if f" {name}" not in script] == []


def test_every_line_is_a_dependency_of_the_project() -> None:
    project, model = (project_of(folder) for folder in (".", "model"))

    extras = project["optional-dependencies"]
    of_model = [*model["dependencies"], *model["optional-dependencies"]["s3"]]
    wanted = [*project["dependencies"], *extras["mcp"], *extras["otel"], *extras["bulk"], *of_model]
    assert listed() <= {canonical(line) for line in wanted}


@pytest.mark.parametrize("runtime", ["cpu", "gpu"])
def test_the_list_of_workers_has_what_all_packages_need(runtime: str) -> None:
    projects = [project_of(folder) for folder in (".", "model", "model/lexiseg_train", "clients/python")]

    wanted = {canonical(line) for project in projects for line in project["dependencies"] if ";" not in line}
    missing = wanted - OWN - {"torch", "onnxruntime"} - set(locked(f"worker-{runtime}"))
    assert missing == set()


def test_what_the_gateway_imports_is_installed() -> None:
    answer = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, cwd=ROOT)
    by_module = metadata.packages_distributions()
    imported = {canonical(name) for module in json.loads(answer.stdout) for name in by_module.get(module, [])}

    assert imported <= set(locked("gateway")) | OPTIONAL | OWN


def test_nothing_that_computes_is_installed() -> None:
    assert closure(listed()).isdisjoint({"torch", "onnxruntime", "open-clip-torch", "timm", "opencv-python-headless"})
