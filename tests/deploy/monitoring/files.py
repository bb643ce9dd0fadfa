"""What Prometheus and Grafana read, as data."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).resolve().parents[3] / "deploy" / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
TESTS = sorted((MONITORING / "tests").glob("*.yml"))
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"(?<![\w:])(?:lexiseg(?::\w+:\w+|_\w+)|(?:process|redis|certmanager|probe_ssl)_\w+|up(?=\{))")
# In a regular expression over names, of two metrics at once.
NAMES = re.compile(r"__name__=~\"([^\"]*)\"")


def rules() -> list[dict[str, Any]]:
    """Of all files, recording and alerting."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[tuple[str, str, str]]:
    """Dashboard, title and PromQL of every question of every panel."""
    return [
        (path.stem, panel["title"], target["expr"])
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def metrics_of(expr: str) -> set[str]:
    """Names of the metrics that an expression reads."""
    spelled = set()
    for pattern in NAMES.findall(expr):
        spelled |= {pattern.replace("(grpc_)?", part) for part in ("", "grpc_")}
    return spelled | set(METRIC.findall(NAMES.sub("", expr)))
