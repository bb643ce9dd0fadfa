"""Gateways, workers, Redis and the trainer as the chart makes them."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lexiseg_service.wire.server import CONNECTION_AGE
from tests.deploy.helm.installing import CHART, Installed, Object, example, installed

EXAMPLES = CHART / "examples"
GATEWAY, WORKER = "lexiseg-gateway", "lexiseg-worker-tiny"
SUFFIXES = ".pictures", ".pictures.svc", ".pictures.svc.cluster.local"  # of a Service's name in DNS


@pytest.fixture(scope="module")
def gpu() -> Installed:
    return example(EXAMPLES / "gpu.yaml")


def pod(made: Installed, kind: str, name: str) -> Object:
    spec: Object = made.one(kind, name)["spec"]["template"]["spec"]
    return spec


def test_every_model_has_workers_of_its_own(gpu: Installed) -> None:
    deployments = [name for name in gpu.kind("Deployment") if "-worker-" in name]

    models = {name: gpu.env("Deployment", name)["LEXISEG_MODEL"] for name in deployments}
    assert models == {
        "lexiseg-worker-tiny": "tiny",
        "lexiseg-worker-tcl": "tcl",
        "lexiseg-worker-unpair-seg": "unpair-seg,dense-clip",
    }
    for name in deployments:
        selector = gpu.one("Service", name)["spec"]["selector"]
        others = [gpu.one("Deployment", other)["spec"]["template"]["metadata"]["labels"] for other in deployments]
        assert sum(selector.items() <= labels.items() for labels in others) == 1


def test_a_worker_with_a_gpu_is_told_so_and_one_without_is_too(gpu: Installed) -> None:
    with_one = gpu.container("Deployment", "lexiseg-worker-tcl")

    assert with_one["resources"]["limits"] == {"cpu": "4", "memory": "24Gi", "nvidia.com/gpu": 1}
    assert gpu.env("Deployment", "lexiseg-worker-tcl")["LEXISEG_DEVICE"] == "cuda"
    assert pod(gpu, "Deployment", "lexiseg-worker-tcl")["runtimeClassName"] == "nvidia"
    assert gpu.env("Deployment", WORKER)["LEXISEG_DEVICE"] == "cpu"
    assert "nvidia.com/gpu" not in gpu.container("Deployment", WORKER)["resources"]["limits"]


def test_a_single_worker_stays_until_the_next_is_ready() -> None:
    made = installed({"worker": {"replicas": 1, "maxSurge": 0}})

    strategy = made.one("Deployment", WORKER)["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


def test_memory_and_time_to_start_follow_from_the_models() -> None:
    made = installed(
        {
            "workers": {
                "tiny": {},
                "both": {"models": ["tiny", "unpair-seg@2"]},
                "own": {"models": ["tcl"], "startSeconds": 50, "resources": {"limits": {"memory": "9Gi"}}},
            }
        }
    )

    found = {}
    for name in ("tiny", "both", "own"):
        container = made.container("Deployment", f"lexiseg-worker-{name}")
        probe = container["startupProbe"]
        resources = container["resources"]
        found[name] = (
            resources["requests"]["memory"],
            resources["limits"]["memory"],
            probe["periodSeconds"] * probe["failureThreshold"],
        )
    assert found == {
        "tiny": ("2048Mi", "4096Mi", 300),
        "both": ("5120Mi", "10240Mi", 900),
        "own": ("3072Mi", "9Gi", 50),
    }


def test_models_are_pulled_onto_the_claim_that_workers_only_read(gpu: Installed) -> None:
    spec = pod(gpu, "Deployment", "lexiseg-worker-tcl")

    (pull,) = spec["initContainers"]
    assert pull["args"] == ["models", "pull", "s3://example/models/tcl"]
    assert "readOnly" not in {mount["mountPath"]: mount for mount in pull["volumeMounts"]}["/models"]
    reading = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert reading["/models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert "initContainers" not in pod(gpu, "Deployment", WORKER)
    account = gpu.one("ServiceAccount", spec["serviceAccountName"])
    assert "eks.amazonaws.com/role-arn" in account["metadata"]["annotations"]


def test_clients_reach_the_edge_and_the_edge_every_gateway(tmp_path: Path) -> None:
    made = installed({})
    front, inside = made.one("Service", GATEWAY)["spec"], made.one("Service", "lexiseg-gateways")["spec"]
    edge = made.container("Deployment", "lexiseg-edge")
    env = made.env("Deployment", "lexiseg-edge")

    assert front["selector"]["app.kubernetes.io/component"] == "edge"
    assert {port["name"]: port["port"] for port in front["ports"]} == {"http": 8000, "grpc": 50051}
    assert {port["name"]: port["containerPort"] for port in edge["ports"]} == {
        "http": 8080,
        "grpc": 50052,
        "metrics": 8405,
    }
    assert (inside["clusterIP"], inside["selector"]["app.kubernetes.io/component"]) == ("None", "gateway")
    assert env["GATEWAY_HTTP"] == "lexiseg-gateways.pictures.svc.cluster.local:8000"
    assert env["GATEWAYS"] == "11"
    assert made.env("Deployment", GATEWAY)["FORWARDED_ALLOW_IPS"] == "*"
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(made.one("ConfigMap", "lexiseg-edge")["data"]["haproxy.cfg"])
    assert configuration.read_text() == (CHART.parents[1] / "edge/haproxy.cfg").read_text()
    subprocess.run(["haproxy", "-c", "-f", configuration], env={**os.environ, **env}, check=True)


def test_edge_and_gateways_answer_under_the_names_of_service_ingress_routes_and_settings() -> None:
    ingress = {"enabled": True, "host": "pictures.example.com"}
    parents, hosts = [{"name": "public"}], ["*.example.org", "seg.example.org"]
    routes = {"enabled": True, "parentRefs": parents, "hostnames": hosts, "grpcHostnames": ["grpc.example.org"]}
    gateway = {"ingress": ingress, "routes": routes, "settings": {"allowed_hosts": "a.example, b.example"}}
    made = installed({"edge": {"proxies": ["10.0.0.0/8"]}, "gateway": gateway})

    names = made.env("Deployment", "lexiseg-edge")["EDGE_HOSTS"].split()
    of_service = ["lexiseg-gateway" + suffix for suffix in ("", *SUFFIXES)]
    assert "b.example (gateway.settings.allowed_hosts)" in made.notes
    assert names == [*of_service, "pictures.example.com", "seg.example.org", "a.example", "b.example"]
    assert made.env("Deployment", GATEWAY)["LEXISEG_ALLOWED_HOSTS"].split(",") == names
    assert [entry["name"] for entry in made.container("Deployment", GATEWAY)["env"]].count("LEXISEG_ALLOWED_HOSTS") == 1


def test_an_ingress_takes_grpc_at_the_same_host() -> None:
    made = example(EXAMPLES / "production.yaml")

    rest, grpc = made.one("Ingress", GATEWAY), made.one("Ingress", f"{GATEWAY}-grpc")
    assert grpc["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"] == "GRPC"
    assert "nginx.ingress.kubernetes.io/backend-protocol" not in rest["metadata"]["annotations"]
    paths = {path["path"]: path["backend"]["service"] for path in grpc["spec"]["rules"][0]["http"]["paths"]}
    assert paths["/lexiseg.v1.Segmentation"] == {"name": GATEWAY, "port": {"name": "grpc"}}
    assert rest["spec"]["rules"][0]["host"] == grpc["spec"]["rules"][0]["host"]


def test_the_gateway_api_has_a_route_for_each_protocol() -> None:
    made = example(EXAMPLES / "gateway-api.yaml")
    rest, grpc = (made.one(kind, GATEWAY)["spec"] for kind in ("HTTPRoute", "GRPCRoute"))

    assert rest["parentRefs"] == grpc["parentRefs"] == [{"name": "public", "namespace": "gateways"}]
    assert rest["rules"][0]["backendRefs"] == [{"name": GATEWAY, "port": 8000}]
    assert grpc["rules"][0]["backendRefs"] == [{"name": GATEWAY, "port": 50051}]
    assert {"method": {"service": "lexiseg.v1.Segmentation"}} in grpc["rules"][0]["matches"]
    assert not set(rest["hostnames"]) & set(grpc["hostnames"])


@pytest.mark.parametrize(("name", "ports"), [(GATEWAY, {"http"}), (WORKER, {"metrics"})])
def test_probes_ask_what_is_alive_and_what_is_ready(name: str, ports: set[str]) -> None:
    container = installed({}).container("Deployment", name)

    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("readiness", "liveness")}
    assert paths == {"readiness": "/readyz", "liveness": "/livez"}
    assert {container[f"{p}Probe"]["httpGet"]["port"] for p in ("startup", "readiness", "liveness")} == ports
    assert ports <= {port["name"] for port in container["ports"]}


@pytest.mark.parametrize(("part", "kind", "name"), [("gateway", "http", GATEWAY), ("worker", "worker", WORKER)])
def test_there_is_time_to_drain(part: str, kind: str, name: str) -> None:
    made = installed({part: {"drainSeconds": 90, "preStopSeconds": 20}})

    command, seconds = made.container("Deployment", name)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert int(seconds) >= 20
    assert made.env("Deployment", name)["LEXISEG_DRAIN_SECONDS"] == "90"
    assert pod(made, "Deployment", name)["terminationGracePeriodSeconds"] >= int(seconds) + 90


def test_a_gateway_outlives_the_connections_that_it_had_when_it_was_forgotten() -> None:
    made = installed({"gateway": {"preStopSeconds": 20}})

    _, seconds = made.container("Deployment", GATEWAY)["lifecycle"]["preStop"]["exec"]["command"]
    # By the manual of gRPC (A9), ages are spread over a tenth more or less.
    assert int(seconds) >= 20 + 1.1 * CONNECTION_AGE


def test_who_scales_says_how_many_and_nobody_else() -> None:
    by_hand = installed({"gateway": {"replicas": 4, "autoscaling": {"enabled": False}}})
    by_load = installed({})

    assert by_hand.one("Deployment", GATEWAY)["spec"]["replicas"] == 4
    assert by_hand.kind("HorizontalPodAutoscaler") == {}
    # A number in the Deployment would undo the autoscaler's at every upgrade.
    assert "replicas" not in by_load.one("Deployment", GATEWAY)["spec"]
    target = by_load.one("HorizontalPodAutoscaler", GATEWAY)["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": GATEWAY}


@pytest.mark.parametrize("values", [{}, {"redis": {"enabled": False}, "externalRedis": {"existingSecret": "mine"}}])
def test_both_sides_know_where_redis_is_and_no_password_is_written(values: dict[str, Any]) -> None:
    made = installed(values)

    urls = [made.env("Deployment", name)["LEXISEG_REDIS_URL"] for name in (GATEWAY, WORKER)]
    assert urls[0] == urls[1]
    if values:
        assert urls[0] == {"secretKeyRef": {"name": "mine", "key": "url"}}
        assert made.kind("StatefulSet") == {}
    else:
        host = re.fullmatch(r"redis://:\$\(REDIS_PASSWORD\)@(.+):6379/0", urls[0])
        assert host is not None
        assert host[1] in made.kind("Service")
        secret = {"secretKeyRef": {"name": "lexiseg-redis", "key": "password"}}
        assert made.env("Deployment", GATEWAY)["REDIS_PASSWORD"] == secret
        assert made.env("StatefulSet", host[1])["REDIS_PASSWORD"] == secret


def test_redis_asks_for_a_password_that_stands_in_no_command_line(tmp_path: Path) -> None:
    container = installed({}).container("StatefulSet", "lexiseg-redis")
    shell, option, script, name = container["command"]
    assert "$(" not in str(container["command"] + container["args"])  # Kubernetes would write the value there

    # Run with a server that shows its own command line and what it is told to read.
    server = tmp_path / "redis-server"
    server.write_text('#!/bin/sh\necho "$@"\ncat "$1"\n')
    server.chmod(0o755)
    started = subprocess.run(
        [shell, option, script.replace("/tmp/", f"{tmp_path}/"), name, "--appendonly", "yes"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "of-redis"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert started.stdout == f"{tmp_path}/redis.conf --appendonly yes\nrequirepass of-redis\n"
    assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0


def test_keys_are_a_file_of_a_secret() -> None:
    made = installed({"auth": {"existingSecret": "mine"}})

    path = made.env("Deployment", GATEWAY)["LEXISEG_API_KEYS_FILE"]
    mounts = {m["mountPath"]: m["name"] for m in made.container("Deployment", GATEWAY)["volumeMounts"]}
    volumes = {v["name"]: v for v in pod(made, "Deployment", GATEWAY)["volumes"]}
    assert path == "/etc/lexiseg/keys/keys"
    assert volumes[mounts["/etc/lexiseg/keys"]]["secret"]["secretName"] == "mine"


def test_gateways_and_workers_show_each_other_certificates_of_their_own() -> None:
    made = example(EXAMPLES / "mutual-tls.yaml")

    for name, secret in ((GATEWAY, "lexiseg-gateway-tls"), (WORKER, "lexiseg-worker-tls")):
        env = made.env("Deployment", name)
        folder = next(m for m in made.container("Deployment", name)["volumeMounts"] if m["name"] == "hop")["mountPath"]
        assert env["LEXISEG_WORKER_TLS"] == folder
        assert env["LEXISEG_WORKER_TOKEN"] == {"secretKeyRef": {"name": "lexiseg-hop", "key": "token"}}
        volumes = {v["name"]: v for v in pod(made, "Deployment", name)["volumes"]}
        assert volumes["hop"]["secret"]["secretName"] == secret


def test_another_training_is_another_job_and_the_same_is_the_same() -> None:
    def name(*words: str, replicas: int = 2) -> str:
        values = {
            "models": {"existingClaim": "m"},
            "trainer": {"enabled": True, "recipe": list(words)},
            "gateway": {"replicas": replicas},
        }
        return str(*installed(values).kind("Job"))

    assert name("tiny") == name("tiny", replicas=3)
    assert name("tiny") != name("tiny-smoke")


def test_a_trainer_of_clients_trainings_shares_their_folder_and_the_models() -> None:
    made = installed(
        {
            "models": {"existingClaim": "models"},
            "gateway": {"stateClaim": "state"},
            "trainer": {"enabled": True, "trainings": True},
        }
    )

    (trainer,) = made.kind("Job")
    (state,) = (each for each in made.container("Job", trainer)["volumeMounts"] if each["name"] == "state")
    assert (state["mountPath"], state["subPath"]) == ("/var/lib/lexiseg/trainings", "trainings")
    assert not pod(made, "Job", trainer)["automountServiceAccountToken"]
    assert made.container("Job", trainer)["command"] == ["lexiseg", "trainer"]
    assert "args" not in made.container("Job", trainer)
    folders = {
        name: made.env(kind, name)["LEXISEG_TRAININGS"] for kind, name in (("Job", trainer), ("Deployment", GATEWAY))
    }
    assert (
        set(folders.values()) == {made.env("Deployment", WORKER)["LEXISEG_TRAININGS"]} == {"/var/lib/lexiseg/trainings"}
    )
    claims = {
        kind: {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod(made, kind, name)["volumes"]
            if "persistentVolumeClaim" in volume
        }
        for kind, name in (("Job", trainer), ("Deployment", GATEWAY))
    }
    assert claims == {"Job": {"models", "state"}, "Deployment": {"state"}}


def test_two_releases_share_no_name() -> None:
    names = [{(o["kind"], o["metadata"]["name"]) for o in installed({}, release=r).objects} for r in ("one", "lexiseg")]

    assert not names[0] & names[1]
