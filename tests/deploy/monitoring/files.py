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
METRIC = re.compile(
    r"(?<![\w:])(?:lexiseg(?::\w+:\w+|_\w+)|(?:process|redis|haproxy|certmanager|probe_ssl)_\w+|up(?=\{))"
)
# Of redis_exporter, HAProxy, cert-manager and blackbox_exporter.
OF_EXPORTERS = {
    "redis_up", "redis_memory_used_bytes", "redis_memory_max_bytes", "redis_aof_enabled",
    "redis_aof_last_write_status", "redis_aof_last_bgrewrite_status", "redis_start_time_seconds",
    "haproxy_frontend_http_responses_total", "haproxy_server_http_responses_total",
    "haproxy_frontend_requests_denied_total", "haproxy_backend_current_queue", "haproxy_backend_current_sessions",
    "haproxy_backend_active_servers", "haproxy_process_current_connections", "haproxy_process_max_connections",
    "certmanager_certificate_expiration_timestamp_seconds", "probe_ssl_earliest_cert_expiry",
}  # fmt: skip
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
