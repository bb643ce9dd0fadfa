"""Helm refuses wrong values and names their place."""

from typing import Any

import pytest

from tests.deploy.helm.installing import HelmRefuses, installed

# By the schema, which lists all that it finds: these are one installation. What must be named, beside what is wrong.
MISSPELT: dict[str, Any] = {
    "gatway": {},
    "gateway": {
        "replicas": "two",
        "maxUnavailable": 0,
        "ingress": {"enabled": True},
        "settings": {
            "rate_limits": 5, "max_batch": 4, "drain_seconds": 5, "worker_token": "a-secret-of-16-letters",
            "rate_limit": 0, "log_level": "loud",
        },
    },
    "worker": {
        "autoscaling": {"minReplicas": 0},
        "image": {"digest": "latest"},
        "settings": {"redis_url": "redis://:secret@x", "LEXISEG_MAX_BATCH": 4, "model": "tiny", "queue_limit": 0},
    },
    "workers": {"tiny": {"replcas": 2}, "a-name-of-seventeen": {}},
    "trainer": {"enabled": True},
    "redis": {"password": "secret"},
}  # fmt: skip
NAMED = {
    "an unknown name": "'gatway' not allowed",
    "an unknown name of a worker": "'replcas' not allowed",
    "an unknown name of redis": "'password' not allowed",
    "a count in words": "'/gateway/replicas'",
    "a budget of none": "'/gateway/maxUnavailable'",
    "an ingress for nobody": "'/gateway/ingress/host'",
    "a setting that is misspelt": "'rate_limits'",
    "a setting of the other part": "'max_batch'",
    "a setting that has a value of its own": "'drain_seconds'",
    "a secret among the settings": "'worker_token'",
    "a setting that is out of range": "'/gateway/settings/rate_limit'",
    "a setting that is none of its words": "'/gateway/settings/log_level'",
    "no worker to start with": "'/worker/autoscaling/minReplicas'",
    "a digest that is none": "'/worker/image/digest'",
    "a URL with a password": "'redis_url'",
    "a setting by its variable": "'LEXISEG_MAX_BATCH'",
    "a worker's model among its settings": "'model'",
    "a queue of none": "'/worker/settings/queue_limit'",
    "a worker with a name too long for its objects": "'a-name-of-seventeen'",
    "a trainer of nothing": "'/trainer/recipe'",
}

# Settings of what lies outside the cluster, or elsewhere in it.
OUTSIDE: dict[str, Any] = {
    "url_networks": "*", "url_fetch": True, "webhook_networks": "10.0.0.0/8", "label_studio_url": "http://studio:8080",
    "job_files": "s3://mine/jobs", "job_folders": "/pictures,s3://mine/pictures",
}  # fmt: skip

# What stands in the schema's way, or is a matter of two values: an installation each.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no workers": ({"workers": {"tiny": None}}, "workers"),
    "a trainer of trainings that gateways leave nowhere": (
        {"models": {"existingClaim": "m"}, "trainer": {"enabled": True, "trainings": True}},
        "gateway.stateClaim",
    ),
    "a trainer that writes nowhere": ({"trainer": {"enabled": True, "recipe": ["tiny"]}}, "models.existingClaim"),
    "a queue that nobody watches": ({"worker": {"autoscaling": {"enabled": True}}}, "monitoring.prometheus"),
    "one certificate of two": ({"hop": {"tls": {"workerSecret": "w"}}}, "gatewaySecret and workerSecret"),
    "more gateways at least than at most": (
        {"gateway": {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}},
        "gateway.autoscaling: minReplicas 5 is above maxReplicas 2",
    ),
    "more workers at least than at most": (
        {
            "worker": {"autoscaling": {"enabled": True, "minReplicas": 9}},
            "monitoring": {"prometheus": "http://prometheus:9090"},
        },
        "autoscaling of the worker tiny: minReplicas 9 is above maxReplicas 8",
    ),
    "an ingress whose clients would count as one": (
        {"gateway": {"ingress": {"enabled": True, "host": "example.com"}}},
        "edge.proxies",
    ),
    "models without a store": ({"models": {"pull": ["tiny"]}}, "models.store"),
    "two places for one Redis": ({"externalRedis": {"existingSecret": "mine"}}, "set redis.enabled=false"),
    "jobs that are kept nowhere": (
        {"gateway": {"settings": {"jobs": True}}},
        "gateway.stateClaim or gateway.settings.job_files",
    ),
    **{
        f"{name} that no policy lets out": (
            {"gateway": {"settings": {name: value, "jobs": name.startswith("job")}, "stateClaim": "s"}},
            f"gateway.settings.{name}: networkPolicy.gatewayEgress",
        )
        for name, value in OUTSIDE.items()
    },
    "a GPU for a CPU": ({"workers": {"tiny": {"gpu": {"count": 1}, "device": "cpu"}}}, "the worker tiny: a GPU"),
}


@pytest.fixture(scope="module")
def refusal() -> str:
    with pytest.raises(HelmRefuses) as refused:
        installed(MISSPELT)
    return str(refused.value)


@pytest.mark.parametrize("name", NAMED)
def test_what_the_schema_does_not_know_is_refused_and_named(name: str, refusal: str) -> None:
    assert NAMED[name] in refusal


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_and_named(name: str) -> None:
    values, where = WRONG[name]

    with pytest.raises(HelmRefuses, match=where.replace(".", r"\.")):
        installed(values)


@pytest.mark.parametrize("policies", [{"enabled": False}, {"gatewayEgress": [{"ports": [{"port": 443}]}]}])
def test_settings_of_what_lies_outside_are_taken_with_a_way_out(policies: dict[str, Any]) -> None:
    made = installed({"gateway": {"settings": {"jobs": True} | OUTSIDE}, "networkPolicy": policies})

    assert made.kind("Deployment")
    assert "Webhooks" not in made.notes


def test_jobs_without_a_way_out_are_kept_and_their_webhooks_are_named() -> None:
    made = installed({"gateway": {"settings": {"jobs": True}, "stateClaim": "s"}})

    assert "Webhooks of jobs reach nobody (networkPolicy.gatewayEgress)." in made.notes


def test_an_older_cluster_is_told_so() -> None:
    with pytest.raises(HelmRefuses, match="kubeVersion"):
        installed({}, kubernetes="v1.24.0")
