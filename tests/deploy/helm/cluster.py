"""A stand-in Kubernetes API server for Helm: it knows the kinds and keeps the objects it is sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.http_server import Quiet, serving

# Group and version to kinds and their plurals; of namespaces, as all that the chart makes.
KINDS = {
    "v1": {
        "ConfigMap": "configmaps", "PersistentVolumeClaim": "persistentvolumeclaims", "Secret": "secrets",
        "Service": "services", "ServiceAccount": "serviceaccounts",
    },
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "batch/v1": {"Job": "jobs"},
    "gateway.networking.k8s.io/v1": {"GRPCRoute": "grpcroutes", "HTTPRoute": "httproutes"},
    "keda.sh/v1alpha1": {"ScaledObject": "scaledobjects"},
    "monitoring.coreos.com/v1": {"PrometheusRule": "prometheusrules", "ServiceMonitor": "servicemonitors"},
    "networking.k8s.io/v1": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}  # fmt: skip
VERBS = ["create", "delete", "get", "list", "patch", "update"]


class Cluster:
    """Where it listens, and the objects that were made, in their order."""

    def __init__(self, url: str, made: list[dict[str, Any]]) -> None:
        self.url = url
        self.made = made

    @property
    def kubeconfig(self) -> str:
        """For clients, as JSON, which is YAML."""
        here = {"cluster": "here", "user": "nobody"}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": self.url}}],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "here", "context": here}],
                "current-context": "here",
            }
        )


@contextmanager
def cluster(kubernetes: str) -> Iterator[Cluster]:
    """One of a version, e.g. v1.32.0, for the length of the block."""
    made: list[dict[str, Any]] = []

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is sent in one piece: the second of two would wait for the first to be acknowledged

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            known = _discovery(path, kubernetes)
            if known is None and path.endswith("/secrets"):  # releases that are there already
                known = {"kind": "SecretList", "apiVersion": "v1", "items": []}
            self._answer(404 if known is None else 200, json.dumps(known or _missing()).encode())

        def do_POST(self) -> None:
            self._keep(201)

        def do_PUT(self) -> None:
            self._keep(200)

        def _keep(self, status: int) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not body.startswith(b"k8s\0"):  # protobuf: Helm's own record of the release
                made.append(json.loads(body))
            self._answer(status, body, self.headers["Content-Type"])

        def _answer(self, status: int, body: bytes, media_type: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as url:
        yield Cluster(url, made)


def _discovery(path: str, kubernetes: str) -> dict[str, Any] | None:
    if path == "/version":
        major, minor, _ = kubernetes.removeprefix("v").split(".")
        return {"major": major, "minor": minor, "gitVersion": kubernetes}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in KINDS if "/" in name]}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    kinds = KINDS.get(version)
    if kinds is None:
        return None
    resources = [
        {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": VERBS}
        for kind, plural in kinds.items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _group(version: str) -> dict[str, Any]:
    name, _, number = version.partition("/")
    known = {"groupVersion": version, "version": number}
    return {"name": name, "versions": [known], "preferredVersion": known}


def _missing() -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
