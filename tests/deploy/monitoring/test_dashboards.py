"""Dashboards are written by a program, and show nothing that no process has."""

from __future__ import annotations

import json
import runpy
from collections import Counter

import yaml

from lexiseg_service.watch.metrics import Metrics
from tests.deploy.monitoring.files import DASHBOARDS, MONITORING, metrics_of, panels, rules

WRITER = runpy.run_path(str(MONITORING / "write_dashboards.py"))


def test_the_files_are_what_the_program_writes() -> None:
    written = {page.name: WRITER["as_json"](page) for page in WRITER["DASHBOARDS"]}

    assert {path.stem: path.read_text() for path in DASHBOARDS} == written
    assert set(written) == {"service", "models", "streams", "cache", "gpu"}


def test_every_metric_of_a_panel_or_rule_is_one_of_ours() -> None:
    exposed = {"up"} | {rule["record"] for rule in rules() if "record" in rule}
    for metric in Metrics().registry.collect():
        exposed |= {metric.name, *(metric.name + end for end in ("_total", "_bucket", "_count", "_sum"))}

    for expr in [expr for _, _, expr in panels()] + [rule["expr"] for rule in rules()]:
        assert metrics_of(expr)
        assert metrics_of(expr) <= exposed, expr


def test_panels_lie_side_by_side_and_pages_have_names_of_their_own() -> None:
    pages = [json.loads(path.read_text()) for path in DASHBOARDS]

    assert max(Counter(page["uid"] for page in pages).values()) == 1
    for page in pages:
        places = Counter((panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in page["panels"])
        assert max(places.values()) == 1
        assert {panel["datasource"]["uid"] for panel in page["panels"]} == {"${source}"}


def test_grafana_is_told_where_prometheus_and_the_pages_are() -> None:
    folder = MONITORING / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "lexiseg.yml").read_text())["providers"]

    assert source["url"] == "http://prometheus:9090"
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
