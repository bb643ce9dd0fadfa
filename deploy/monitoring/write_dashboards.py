"""Writes grafana/dashboards/*.json beside it: `python deploy/monitoring/write_dashboards.py`.

A panel is a title, a unit and its questions; where it stands, and the many words that Grafana wants, are all alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("grafana") / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${source}"}
JOB = '{job=~"$job"}'
WIDTH, HEIGHT, COLUMNS = 8, 8, 3  # of a panel, in Grafana's 24 columns


@dataclass(frozen=True)
class Panel:
    """One picture: `asks` is PromQL by legend; `about` is shown at its corner."""

    title: str
    asks: dict[str, str]
    unit: str = "short"
    about: str = ""
    most: float | None = None
    exemplars: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    about: str
    panels: tuple[Panel, ...] = field(default=())


def quantiles(metric: str, by: str = "", labels: str = "") -> dict[str, str]:
    """Median, 95th and 99th percentile of a histogram, by a label if wanted."""
    chosen = 'job=~"$job"' + (f", {labels}" if labels else "")
    legend = f"{{{{{by}}}}} " if by else ""
    sum_by = f"le, {by}" if by else "le"
    return {
        f"{legend}{word}": f"histogram_quantile({share}, "
        f"sum by ({sum_by}) (rate({metric}_bucket{{{chosen}}}[$__rate_interval])))"
        for word, share in (("median", 0.5), ("95 %", 0.95), ("99 %", 0.99))
    }


def rate(metric: str, by: str, labels: str = "") -> str:
    """A counter's pace, summed by a label."""
    chosen = 'job=~"$job"' + (f", {labels}" if labels else "")
    return f"sum by ({by}) (rate({metric}{{{chosen}}}[$__rate_interval]))"


def share(metric: str, labels: str, by: str = "") -> str:
    """The part of a counter that labels choose."""
    summed = f"sum by ({by})" if by else "sum"
    return (
        f'{summed} (rate({metric}{{job=~"$job", {labels}}}[$__rate_interval]))'
        f' / {summed} (rate({metric}{{job=~"$job"}}[$__rate_interval]))'
    )


SERVICE = Dashboard(
    "service",
    "lexiseg: service",
    "What is asked, how it is answered, and who answers.",
    (
        Panel(
            "Questions", {"{{by}}": rate("lexiseg_questions_total", "by")}, "reqps", "Requests for masks, and frames."
        ),
        Panel("Failures", {"{{reason}}": rate("lexiseg_request_failures_total", "reason")}, "reqps"),
        Panel(
            "Shares that the objectives are about",
            {
                "failed on our side {{at}}": f"lexiseg:failed_share:rate5m{JOB}",
                "longer than 5 s": f"lexiseg:slow_share:rate5m{JOB}",
            },
            "percentunit",
            "Objectives: 0.1 % and 1 % over 30 days (rules/objectives.yml).",
        ),
        Panel(
            "Time of a request for masks (REST)",
            quantiles("lexiseg_request_seconds", labels='route=~"(/v1)?/segment"'),
            "s",
            exemplars=True,
        ),
        Panel(
            "Time of a call (gRPC)",
            quantiles("lexiseg_grpc_request_seconds", labels='method!~".*SegmentVideo"'),
            "s",
            exemplars=True,
        ),
        Panel("HTTP answers", {"{{route}} {{code}}": rate("lexiseg_requests_total", "route, code")}, "reqps"),
        Panel("gRPC answers", {"{{method}} {{code}}": rate("lexiseg_grpc_requests_total", "method, code")}, "reqps"),
        Panel("Workers of the gateways", {"{{state}}": 'sum by (state) (lexiseg_workers{job=~"$job"})'}),
        Panel(
            "Asked elsewhere",
            {
                "requests, {{reason}}": rate("lexiseg_worker_retries_total", "reason"),
                "streams": 'sum(rate(lexiseg_stream_failovers_total{job=~"$job"}[$__rate_interval]))',
            },
            "reqps",
            "Requests that a second worker was asked, and streams that moved to another.",
        ),
        Panel(
            "The hop to a worker", quantiles("lexiseg_worker_hop_seconds"), "s", "Beyond the time of the worker itself."
        ),
        Panel(
            "Accepted, and waiting for the device",
            {
                "accepted {{instance}}": f"lexiseg_inflight{JOB}",
                "waiting {{instance}}": f"lexiseg_queue_depth{JOB}",
            },
        ),
        Panel(
            "Jobs that have not ended",
            {
                "{{state}}": 'max by (state) (lexiseg_jobs_open{job=~"$job"})',
                "held up": 'max(lexiseg_jobs_held_up{job=~"$job"})',
                "pictures {{result}} in a second": rate("lexiseg_job_pictures_total", "result"),
            },
            about="Of all clients; every gateway shows the same jobs.",
        ),
        Panel(
            "Trainings that have not ended",
            {
                "{{state}}": 'max by (state) (lexiseg_trainings{job=~"$job", state=~"waiting|running"})',
                "trainers at work": 'max(lexiseg_trainer_alive{job=~"$job"})',
            },
            about="Of all clients; every gateway shows the same folder.",
        ),
        Panel("CPU", {"{{instance}}": f"rate(process_cpu_seconds_total{JOB[:-1]}}}[$__rate_interval])"}, "cores"),
        Panel("Memory", {"{{instance}}": f"process_resident_memory_bytes{JOB}"}, "bytes"),
        Panel("Versions", {"{{version}}, Python {{python}}": f"count by (version, python) (lexiseg_build_info{JOB})"}),
    ),
)
MODELS = Dashboard(
    "models",
    "lexiseg: models",
    "What is in memory, and where the time of an answer goes.",
    (
        Panel("In memory", {"{{model}}@{{version}} {{instance}}": f"lexiseg_model_loaded{JOB}"}, most=1),
        Panel("Weights", {"{{model}} {{instance}}": f"lexiseg_model_bytes{JOB}"}, "bytes"),
        Panel(
            "Loading", {"{{model}} slowest": quantiles("lexiseg_model_load_seconds", "model")["{{model}} 99 %"]}, "s"
        ),
        Panel(
            "Loads that failed, and models put out",
            {
                "failed {{model}}": rate("lexiseg_model_load_failures_total", "model"),
                "put out {{model}}": rate("lexiseg_model_unloads_total", "model"),
            },
            "ops",
        ),
        Panel(
            "Time in each stage, 95 %",
            {"{{stage}}": quantiles("lexiseg_stage_seconds", "stage")["{{stage}} 95 %"]},
            "s",
            "Stages have the names of timings_ms in an answer.",
        ),
        Panel(
            "Share of the time that a stage is at work",
            {
                "{{stage}} {{instance}}": rate(
                    "lexiseg_stage_seconds_sum", "stage, instance", 'stage=~"image|post|decode"'
                )
            },
            "percentunit",
            "1 for each thread or device that is never idle.",
        ),
        Panel("Waiting for a thread", {"{{stage}} {{instance}}": f"lexiseg_stage_waiting{JOB}"}),
        Panel(
            "Longest wait for a thread",
            {"{{stage}} {{instance}}": f"lexiseg_stage_longest_wait_seconds{JOB}"},
            "s",
            "Over 5 s for a minute: LexisegFinishBehind.",
        ),
        Panel(
            "Tiles in an image pass",
            {"mean": f"{rate('lexiseg_batch_size_sum', 'job')} / {rate('lexiseg_batch_size_count', 'job')}"},
        ),
    ),
)
STREAMS = Dashboard(
    "streams",
    "lexiseg: streams",
    "Video.",
    (
        Panel("Open streams", {"{{instance}}": f"lexiseg_stream_active{JOB}"}),
        Panel("Frames", {"{{result}}": rate("lexiseg_stream_frames_total", "result")}, "reqps"),
        Panel(
            "Frames that got no answer",
            {
                "failed": share("lexiseg_stream_frames_total", 'result="error"'),
                "dropped": share("lexiseg_stream_frames_total", 'result="dropped"'),
            },
            "percentunit",
            "Dropped: a newer one overtook it, as the stream asked for.",
        ),
        Panel(
            "Streams that moved to another worker",
            {"moves": 'sum(rate(lexiseg_stream_failovers_total{job=~"$job"}[$__rate_interval]))'},
            "ops",
        ),
        Panel("gRPC calls that are not over", {"{{instance}}": f"lexiseg_grpc_active{JOB}"}),
        Panel("State of streams", {"{{instance}}": 'lexiseg_cache_bytes{job=~"$job", cache="streams"}'}, "bytes"),
    ),
)
CACHE = Dashboard(
    "cache",
    "lexiseg: caches",
    "What did not have to be computed again, and what it is kept in.",
    (
        Panel(
            "Questions about images whose features were kept",
            {"known": share("lexiseg_feature_cache_total", 'result="hit"')},
            "percentunit",
            "No image pass ran for them.",
            most=1,
        ),
        Panel(
            "Texts that were known",
            {"{{tier}}": share("lexiseg_text_cache_total", 'result="hit"', "tier")},
            "percentunit",
            "l1: memory; redis is asked for what l1 lacks.",
            most=1,
        ),
        Panel("Texts looked up", {"{{tier}} {{result}}": rate("lexiseg_text_cache_total", "tier, result")}, "ops"),
        Panel("Held in memory", {"{{cache}} {{instance}}": f"lexiseg_cache_bytes{JOB}"}, "bytes"),
        Panel(
            "Redis given up",
            {"{{link}} {{instance}}": f"lexiseg_redis_breaker_state{JOB}"},
            about="0 closed, 1 half-open, 2 open: it is left alone.",
            most=2,
        ),
    ),
)
GPU = Dashboard(
    "gpu",
    "lexiseg: GPU",
    "Devices of the workers. Temperature, power and clocks are NVIDIA's own exporter's business.",
    (
        Panel("Memory held by a worker", {"GPU {{device}} {{instance}}": f"lexiseg_gpu_memory_bytes{JOB}"}, "bytes"),
        Panel(
            "Memory that is free",
            {"GPU {{device}} {{instance}}": f"lexiseg_gpu_memory_free_bytes{JOB}"},
            "bytes",
            "Of the whole device, whoever holds the rest.",
        ),
        Panel(
            "Share of the time in image passes",
            {"{{instance}}": rate("lexiseg_stage_seconds_sum", "instance", 'stage="image"')},
            "percentunit",
            "Near 1: the device is the limit; add one.",
            most=1,
        ),
        Panel("Image passes", {"{{instance}}": rate("lexiseg_batch_size_count", "instance")}, "ops"),
        Panel("Tiles in a second", {"{{instance}}": rate("lexiseg_batch_size_sum", "instance")}, "ops"),
        Panel(
            "Waiting for the device, 95 %",
            {"queue": quantiles("lexiseg_stage_seconds", labels='stage="queue"')["95 %"]},
            "s",
        ),
    ),
)
OF_CLIENTS = 'proxy=~"rest|grpc"'
OF_GATEWAYS = '{job=~"$job", proxy=~"gateways_.*"}'
FAILED = 'code="5xx"'
EDGE = Dashboard(
    "edge",
    "lexiseg: edge",
    "What clients meet first: HAProxy, by its own exporter.",
    (
        Panel(
            "Answers to clients",
            {"{{proxy}} {{code}}": rate("haproxy_frontend_http_responses_total", "proxy, code", OF_CLIENTS)},
            "reqps",
        ),
        Panel(
            "5xx of the edge itself",
            {
                "503, 504": f"{rate('haproxy_frontend_http_responses_total', 'job', f'{OF_CLIENTS}, {FAILED}')}"
                f" - {rate('haproxy_server_http_responses_total', 'job', FAILED)}"
            },
            "reqps",
            "Without those that gateways sent.",
        ),
        Panel(
            "Refused by the edge",
            {"{{proxy}}": rate("haproxy_frontend_requests_denied_total", "proxy", OF_CLIENTS)},
            "reqps",
            "429: too many requests of an address in flight; 413: a body too large.",
        ),
        Panel(
            "In flight, and waiting for a gateway",
            {
                "in flight {{proxy}} {{instance}}": f"haproxy_backend_current_sessions{OF_GATEWAYS}",
                "waiting {{proxy}} {{instance}}": f"haproxy_backend_current_queue{OF_GATEWAYS}",
            },
        ),
        Panel(
            "Connections, of those that it may hold",
            {"{{instance}}": f"haproxy_process_current_connections{JOB} / haproxy_process_max_connections{JOB}"},
            "percentunit",
            "Over 0.8 for two minutes: LexisegEdgeConnections.",
            most=1,
        ),
        Panel(
            "Gateways that are ready",
            {"{{instance}}": 'haproxy_backend_active_servers{job=~"$job", proxy="gateways_rest"}'},
        ),
    ),
)
DASHBOARDS = (SERVICE, EDGE, MODELS, STREAMS, CACHE, GPU)


def as_json(dashboard: Dashboard) -> str:
    """The file that Grafana reads."""
    page = {
        "uid": f"lexiseg-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["lexiseg"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["lexiseg"], "title": "lexiseg", "asDropdown": True}],
        "templating": {"list": [_source_variable(), _job_variable()]},
        "panels": [_panel(panel, number) for number, panel in enumerate(dashboard.panels)],
    }
    return json.dumps(page, indent=1) + "\n"


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    bounds = {"min": 0} if panel.most is None else {"min": 0, "max": panel.most}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {
            "x": number % COLUMNS * WIDTH,
            "y": number // COLUMNS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {
            "defaults": {"unit": panel.unit, **bounds},
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            | ({"exemplar": True} if panel.exemplars else {})
            for index, (legend, expr) in enumerate(panel.asks.items())
        ],
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _job_variable() -> dict[str, Any]:
    query = 'label_values({__name__=~"lexiseg_build_info|haproxy_process_max_connections"}, job)'
    return {
        "name": "job",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "job"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


if __name__ == "__main__":
    for page in DASHBOARDS:
        (FOLDER / f"{page.name}.json").write_text(as_json(page), encoding="utf-8")
