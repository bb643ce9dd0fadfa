"""Installing the chart by Helm itself, its Go library, and reading what the cluster was sent.

Helm's runtime catches signals and starts threads of its own; it has a process of its own here:

    python -m tests.deploy.helm.installing < request.json
"""

import ctypes
import json
import platform
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.helm.cluster import cluster

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/helm/lexiseg"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
LIBRARY = Path(sys.prefix) / "helm/helm_sdkpy/_lib/linux-amd64/libhelm_sdkpy.so"  # requirements/helm.txt
THERE_IS_ONE = (platform.system(), platform.machine()) == ("Linux", "x86_64")
KUBERNETES = "v1.32.0"
RELEASE, NAMESPACE = "lexiseg", "pictures"
SECONDS = 120

Object = dict[str, Any]


class HelmRefuses(Exception):
    """What Helm says is wrong with values or templates."""


@dataclass(frozen=True)
class Installed:
    """What an installation makes."""

    objects: list[Object]
    notes: str  # shown to whoever installs

    def kind(self, kind: str) -> dict[str, Object]:
        """Objects of a kind by name."""
        return {obj["metadata"]["name"]: obj for obj in self.objects if obj["kind"] == kind}

    def one(self, kind: str, name: str) -> Object:
        """The object of a kind and name."""
        return self.kind(kind)[name]

    def container(self, kind: str, name: str) -> Object:
        """The only container of a workload's pods."""
        (container,) = self.one(kind, name)["spec"]["template"]["spec"]["containers"]
        return dict(container)

    def env(self, kind: str, name: str) -> dict[str, Any]:
        """Variables of that container: their value, or where it comes from."""
        return {
            entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in self.container(kind, name)["env"]
        }


def example(path: Path) -> Installed:
    """The chart with an example's values."""
    return installed(yaml.safe_load(path.read_text()))


def installed(values: dict[str, Any], *, release: str = RELEASE, kubernetes: str = KUBERNETES) -> Installed:
    """The chart with these values.

    Raises:
        HelmRefuses: Helm does.
    """
    return _installed(json.dumps([values, release, kubernetes], sort_keys=True))


@cache
def _installed(request: str) -> Installed:
    from tests.command import ended  # Helm's process needs none of the settings behind it: half of its time

    run = ended([sys.executable, "-m", "tests.deploy.helm.installing"], input=request, cwd=ROOT, timeout=SECONDS)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    if "error" in answer:
        raise HelmRefuses(answer["error"])
    return Installed(answer["objects"], answer["notes"])


def _main() -> None:
    values, release, kubernetes = json.load(sys.stdin)
    assert LIBRARY.exists(), f"{LIBRARY} is missing: `make test` installs it"
    helm = ctypes.CDLL(str(LIBRARY))
    helm.helm_sdkpy_last_error.restype = ctypes.c_char_p
    options = {
        "wait": False,
        "timeout_seconds": SECONDS,
        "server_side_apply": "false",
        "disable_openapi_validation": True,
    }
    with cluster(kubernetes) as there, tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        config.write(there.kubeconfig)
        config.flush()
        handle, result = ctypes.c_ulonglong(), ctypes.c_char_p()
        status = helm.helm_sdkpy_config_create(
            NAMESPACE.encode(), config.name.encode(), b"", b"{}", ctypes.byref(handle)
        ) or helm.helm_sdkpy_install(
            handle, release.encode(), str(CHART).encode(), json.dumps(values).encode(), b"",
            json.dumps(options).encode(), ctypes.byref(result),
        )  # fmt: skip
        error = helm.helm_sdkpy_last_error().decode() if status else None
    if error is None:
        print(json.dumps({"objects": there.made, "notes": json.loads(result.value or b"")["info"]["notes"]}))
    else:
        print(json.dumps({"error": error}))


if __name__ == "__main__":
    _main()
