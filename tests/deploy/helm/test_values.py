"""The schema of the values turns away what would be found out in the cluster, and Helm says where it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.helm.installing import HelmRefuses, installed

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown name": ({"gatway": {}}, "gatway"),
    "an unknown name of a worker": ({"workers": {"tiny": {"replcas": 2}}}, "replcas"),
    "a count in words": ({"gateway": {"replicas": "two"}}, "replicas"),
    "no worker to start with": ({"worker": {"autoscaling": {"minReplicas": 0}}}, "minReplicas"),
    "a worker with a name too long for its objects": ({"workers": {"a-name-of-seventeen": {}}}, "a-name-of-seventeen"),
    "no workers": ({"workers": {"tiny": None}}, "workers"),
    "a setting that has a value of its own": ({"gateway": {"settings": {"drain_seconds": 5}}}, "settings"),
    "a worker's model among its settings": ({"workers": {"tiny": {"settings": {"model": "tiny"}}}}, "settings"),
    "the age of connections beside its value": (
        {"gateway": {"settings": {"grpc_connection_age_seconds": 60}}},
        "settings",
    ),
    "a secret among the settings": ({"worker": {"settings": {"redis_url": "redis://:secret@x"}}}, "settings"),
    "a setting by its variable": ({"worker": {"settings": {"LEXISEG_MAX_BATCH": 4}}}, "LEXISEG_MAX_BATCH"),
    "an ingress for nobody": ({"gateway": {"ingress": {"enabled": True}}}, "ingress"),
    "a trainer of nothing": ({"models": {"existingClaim": "m"}, "trainer": {"enabled": True}}, "recipe"),
    "a trainer that writes nowhere": ({"trainer": {"enabled": True, "recipe": ["tiny"]}}, "models.existingClaim"),
    "a queue that nobody watches": ({"worker": {"autoscaling": {"enabled": True}}}, "monitoring.prometheus"),
    "one certificate of two": ({"hop": {"tls": {"workerSecret": "w"}}}, "gatewaySecret and workerSecret"),
    "a digest that is none": ({"worker": {"image": {"digest": "latest"}}}, "digest"),
    "a rollout of everything": ({"rollouts": ["tcl 5 key"]}, "rollouts"),
    "a budget of none": ({"gateway": {"maxUnavailable": 0}}, "maxUnavailable"),
    "an unknown name of redis": ({"redis": {"password": "secret"}}, "password"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_named(name: str) -> None:
    values, where = WRONG[name]

    with pytest.raises(HelmRefuses, match=where.replace(".", r"\.")):
        installed(values)


def test_an_older_cluster_is_told_so() -> None:
    with pytest.raises(HelmRefuses, match="kubeVersion"):
        installed({}, kubernetes="v1.24.0")
