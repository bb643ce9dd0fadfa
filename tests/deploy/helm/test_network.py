"""Which parts may connect to which, decided as a network policy engine does."""

from typing import Any

import pytest

from tests.deploy.helm.installing import Installed, Object, installed

PARTS = ("edge", "gateway", "worker", "redis", "trainer")


@pytest.fixture(scope="module")
def made() -> Installed:
    values: dict[str, Any] = {"models": {"existingClaim": "m"}, "trainer": {"enabled": True, "recipe": ["tiny"]}}
    return installed(values)


def labels(made: Installed, part: str) -> dict[str, str]:
    for obj in made.objects:
        if obj["kind"] in ("Deployment", "StatefulSet", "Job") and part in obj["metadata"]["name"].split("-"):
            found: dict[str, str] = obj["spec"]["template"]["metadata"]["labels"]
            return found
    raise AssertionError(part)


def selects(selector: Object, of: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    return selector.get("matchLabels", {}).items() <= of.items() and all(
        expression["operator"] == "In" and of.get(expression["key"]) in expression["values"]
        for expression in expressions
    )


def allows(rule: Object, peers: str, other: dict[str, str], port: int) -> bool:
    ports = [entry["port"] for entry in rule.get("ports", [])]
    selectors = [peer["podSelector"] for peer in rule.get(peers, []) if "podSelector" in peer]
    return port in ports and (peers not in rule or any(selects(selector, other) for selector in selectors))


def may(made: Installed, source: str, target: str, port: int) -> bool:
    """As Kubernetes decides: a pod that some policy selects is open to what one of them allows, others to all."""
    here, there = labels(made, source), labels(made, target)
    ways = []
    for side, other, peers, direction in ((here, there, "to", "egress"), (there, here, "from", "ingress")):
        specs = [p["spec"] for p in made.kind("NetworkPolicy").values() if selects(p["spec"]["podSelector"], side)]
        rules = [rule for spec in specs for rule in spec.get(direction) or []]
        ways.append(not specs or any(allows(rule, peers, other, port) for rule in rules))
    return all(ways)


PORTS = {"edge": 8080, "gateway": 8000, "worker": 50061, "redis": 6379}
ALLOWED = {("edge", "gateway"), ("gateway", "worker"), ("gateway", "redis"), ("worker", "redis")}


@pytest.mark.parametrize("target", PORTS)
@pytest.mark.parametrize("source", PARTS)
def test_a_part_reaches_what_it_needs_and_nothing_else(made: Installed, source: str, target: str) -> None:
    assert may(made, source, target, PORTS[target]) is ((source, target) in ALLOWED)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_trainer_of_what_strangers_send_has_no_way_out(enabled: bool) -> None:
    made = installed(
        {
            "models": {"existingClaim": "m"},
            "gateway": {"stateClaim": "s"},
            "trainer": {"enabled": True, "trainings": True},
            "networkPolicy": {"enabled": enabled},
        }
    )

    policies = [policy["spec"] for name, policy in made.kind("NetworkPolicy").items() if name.endswith("trainer")]

    assert [(policy["policyTypes"], policy["egress"]) for policy in policies] == [(["Ingress", "Egress"], [])]
    assert all(selects(policy["podSelector"], labels(made, "trainer")) for policy in policies)
