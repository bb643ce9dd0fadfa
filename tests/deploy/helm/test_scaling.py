"""Autoscaling of workers by KEDA, also when Prometheus is unreachable or has no data."""

import re

import pytest
import yaml
from prometheus_client import generate_latest

from lexiseg_service.watch.metrics import Metrics
from tests.deploy.helm.installing import CHART, NAMESPACE, Installed, Object, example, installed

WORKER = "lexiseg-worker-tiny"


@pytest.fixture(scope="module")
def made() -> Installed:
    return example(CHART / "examples/production.yaml")


@pytest.fixture(scope="module")
def scaled(made: Installed) -> Object:
    spec: Object = made.one("ScaledObject", WORKER)["spec"]
    return spec


def queries(scaled: Object) -> list[str]:
    return [trigger["metadata"]["query"] for trigger in scaled["triggers"]]


def test_it_asks_for_the_queue_and_the_busy_share_of_the_pods_that_it_scales(made: Installed, scaled: Object) -> None:
    queue, busy = queries(scaled)

    assert "lexiseg_queue_depth" in queue
    assert 'rate(lexiseg_stage_seconds_sum{stage="image"' in busy
    metrics = Metrics()
    metrics.stage("image", 0.1)
    for query in (queue, busy):
        assert re.findall(r"lexiseg_\w+", query)[0] in generate_latest(metrics.registry).decode()
        assert {("namespace", NAMESPACE), ("service", WORKER)} <= set(re.findall(r'(\w+)="([^"]+)"', query))
    assert WORKER in made.kind("Service")
    assert [trigger["metadata"]["threshold"] for trigger in scaled["triggers"]] == ["4", "0.8"]
    assert scaled["scaleTargetRef"]["name"] in made.kind("Deployment")


@pytest.mark.parametrize(
    ("file", "monitor", "service"),
    [
        ("production", "lexiseg-worker", WORKER),
        ("production", "lexiseg-edge", "lexiseg-edge"),
        ("gateway-api", "lexiseg-redis", "lexiseg-redis"),
    ],
)
def test_a_scrape_finds_its_service_and_port(file: str, monitor: str, service: str) -> None:
    made = example(CHART / f"examples/{file}.yaml")
    scraped, found = made.one("ServiceMonitor", monitor)["spec"], made.one("Service", service)

    assert scraped["selector"]["matchLabels"].items() <= found["metadata"]["labels"].items()
    assert scraped["endpoints"][0]["port"] in [port["name"] for port in found["spec"]["ports"]]
    assert scraped["namespaceSelector"]["matchNames"] == [NAMESPACE]
    assert found["metadata"]["labels"][scraped["jobLabel"]] == "lexiseg"


def test_clients_do_not_reach_the_metrics_of_the_edge(made: Installed) -> None:
    assert "metrics" not in [port["name"] for port in made.one("Service", "lexiseg-gateway")["spec"]["ports"]]


def test_the_rules_are_those_of_the_project_and_their_templates_are_prometheus_own(made: Installed) -> None:
    files = sorted((CHART.parents[1] / "monitoring/rules").glob("*.yml"))

    groups = [group for rule in made.kind("PrometheusRule").values() for group in rule["spec"]["groups"]]
    texts = [file.read_text().replace("runbook_url: docs/", "runbook_url: https://docs.example.com/") for file in files]
    expected = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    assert sorted(groups, key=lambda group: str(group["name"])) == sorted(
        expected, key=lambda group: str(group["name"])
    )


def test_rules_find_their_jobs_whatever_the_chart_is_called() -> None:
    made = installed({"nameOverride": "masks", "monitoring": {"serviceMonitor": {"enabled": True}}})

    (label,) = {monitor["spec"]["jobLabel"] for monitor in made.kind("ServiceMonitor").values()}
    scraped = [made.one("Service", name) for name in ("lexiseg-masks-gateways", "lexiseg-masks-worker-tiny")]
    assert {service["metadata"]["labels"][label] for service in scraped} == {"lexiseg"}


def test_an_exporter_beside_redis_may_be_reached() -> None:
    made = example(CHART / "examples/gateway-api.yaml")

    names = [
        each["name"] for each in made.one("StatefulSet", "lexiseg-redis")["spec"]["template"]["spec"]["containers"]
    ]
    assert names == ["redis", "exporter"]
    ingress = made.one("NetworkPolicy", "lexiseg-redis")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in ingress] == [6379, 9121]
