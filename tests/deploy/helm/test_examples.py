"""Helm installs every example, and the objects are valid by the Kubernetes schemas."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from kubernetes_validate import utils, validate

from lexiseg_service.settings import Limits, Settings
from tests.deploy.helm.installing import EXAMPLES, Object, example

OTHERS = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "HTTPRoute", "GRPCRoute"}  # custom resources
VERSIONS = ("1.27", "1.32", "1.37")
WORKLOADS = {"Deployment", "StatefulSet", "Job"}
by_name = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def schemas_read_once() -> Iterator[None]:
    """They are megabytes, which are read for each object otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


@by_name
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.usefixtures("schemas_read_once")
def test_kubernetes_knows_every_field_of_every_object(path: Path, version: str) -> None:
    objects = [obj for obj in example(path).objects if obj["kind"] not in OTHERS]

    assert objects
    for obj in objects:
        validate(obj, version, strict=True)


def workloads(path: Path) -> list[Object]:
    return [obj for obj in example(path).objects if obj["kind"] in WORKLOADS]


@by_name
def test_every_pod_may_do_no_more_than_it_needs(path: Path) -> None:
    for workload in workloads(path):
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


@by_name
def test_no_variable_of_a_service_is_taken_for_a_setting(path: Path) -> None:
    # A Service called lexiseg-worker would set LEXISEG_WORKER_PORT to tcp://10.0.0.7:50061.
    assert all(w["spec"]["template"]["spec"]["enableServiceLinks"] is False for w in workloads(path))


@by_name
def test_every_variable_that_is_ours_is_a_setting(path: Path) -> None:
    known = {f"LEXISEG_{name.upper()}" for model in (Settings, Limits) for name in model.model_fields}
    containers = [c for workload in workloads(path) for c in workload["spec"]["template"]["spec"]["containers"]]
    ours = {entry["name"] for c in containers for entry in c.get("env", []) if entry["name"].startswith("LEXISEG_")}

    assert ours
    assert ours <= known


@by_name
def test_every_secret_is_a_reference(path: Path) -> None:
    assert "Secret" not in {obj["kind"] for obj in example(path).objects}
    for workload in workloads(path):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            for entry in container.get("env", []):
                if entry["name"].endswith(("PASSWORD", "TOKEN", "KEYS")):
                    assert set(entry["valueFrom"]) == {"secretKeyRef"}


@by_name
def test_whoever_installs_is_told_of_every_secret_that_pods_wait_for(path: Path) -> None:
    wanted = set()
    for workload in workloads(path):
        pod = workload["spec"]["template"]["spec"]
        wanted |= {volume["secret"]["secretName"] for volume in pod.get("volumes", []) if "secret" in volume}
        for entry in pod["containers"][0].get("env", []):
            if "secretKeyRef" in entry.get("valueFrom", {}):
                wanted.add(entry["valueFrom"]["secretKeyRef"]["name"])

    (told,) = re.findall(r"Pods wait until these Secrets are there: (.*)\.$", example(path).notes, re.M) or [""]
    assert set(re.findall(r"lexiseg-[a-z-]+", told)) == wanted


@by_name
def test_every_volume_that_is_mounted_is_there_and_the_other_way_round(path: Path) -> None:
    for workload in workloads(path):
        pod = workload["spec"]["template"]["spec"]
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
        volumes = {volume["name"] for volume in pod.get("volumes", [])} | set(claims)
        assert {mount["name"] for mount in pod["containers"][0].get("volumeMounts", [])} == volumes
