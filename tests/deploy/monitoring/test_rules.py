"""Prometheus rules, checked by promtool."""

import json
import os
import re
from itertools import chain
from pathlib import Path

import yaml

from lexiseg_service.watch.collectors import JOBS, TRAININGS, Gauges
from lexiseg_service.watch.metrics import Metrics
from tests.command import ended
from tests.deploy.monitoring.files import (
    DASHBOARDS,
    MONITORING,
    OF_EXPORTERS,
    TESTS,
    metrics_of,
    panels,
    rules,
)

SCENARIOS = [case for path in TESTS for case in yaml.safe_load(path.read_text())["tests"]]
ALERTS = {rule["alert"] for rule in rules() if "alert" in rule}


def promtool(*arguments: str | Path) -> str:
    # By default Go's garbage collector takes a quarter of the time.
    outcome = ended(["promtool", *arguments], timeout=600, env=os.environ | {"GOGC": "800"})
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def test_every_alert_fires_and_clears_as_its_scenario_says() -> None:
    promtool("test", "rules", *TESTS)


def test_every_alert_has_a_scenario_in_which_it_fires_and_then_clears() -> None:
    cleared: set[str] = set()
    for scenario in SCENARIOS:
        firing: set[str] = set()
        for asked in sorted(scenario["promql_expr_test"], key=lambda asked: int(asked["eval_time"][:-1])):
            now = set(re.findall(r'alertname="(\w+)"', str(asked["exp_samples"])))
            cleared |= firing - now
            firing = now

    assert cleared == ALERTS


def test_every_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    page = (MONITORING.parents[1] / "docs/operations.md").read_text()

    sections = re.findall(r"^### (Lexiseg\w+)$", page, re.MULTILINE)

    assert len(sections) == len(set(sections))
    assert set(sections) == ALERTS


PROVISIONING = MONITORING / "grafana" / "provisioning"


def test_every_metric_of_a_panel_or_rule_is_ours_or_of_a_named_exporter() -> None:
    exposed = {"up"} | OF_EXPORTERS | {rule["record"] for rule in rules() if "record" in rule}
    for metric in chain(Metrics().registry.collect(), Gauges(JOBS | TRAININGS, dict).collect()):
        exposed |= {metric.name, *(metric.name + end for end in ("_total", "_bucket", "_count", "_sum"))}

    for expr in [expr for _, _, expr in panels()] + [rule["expr"] for rule in rules()]:
        assert metrics_of(expr)
        assert metrics_of(expr) <= exposed, expr


def test_what_a_page_names_leads_to_the_source_that_grafana_is_given() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]

    assert (source["type"], source["isDefault"], source["url"]) == ("prometheus", True, "http://prometheus:9090")
    for path in DASHBOARDS:
        text = path.read_text()
        variables = {variable["name"]: variable for variable in json.loads(text)["templating"]["list"]}
        assert (variables["source"]["type"], variables["source"]["query"]) == ("datasource", source["type"])
        assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"${source}", f"lexiseg-{path.stem}"}
        assert set(re.findall(r"\$\{?(\w+)", text)) - {"__all"} <= {*variables, "__rate_interval"}


def test_grafana_finds_the_pages_where_compose_mounts_them() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "lexiseg.yml").read_text())["providers"]
    grafana = yaml.safe_load((MONITORING.parent / "compose/monitoring.yml").read_text())["services"]["grafana"]
    mounts = {inside: outside for outside, inside, *_ in (volume.split(":") for volume in grafana["volumes"])}

    assert mounts["/etc/grafana/provisioning"] == "./deploy/monitoring/grafana/provisioning"
    assert mounts[provider["options"]["path"]] == "./deploy/monitoring/grafana/dashboards"
    folder, _, home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")
    assert folder == provider["options"]["path"]
    assert home in {path.name for path in DASHBOARDS}
    assert {path.stem for path in DASHBOARDS} == {"service", "edge", "models", "streams", "cache", "gpu"}
