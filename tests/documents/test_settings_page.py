"""docs/settings.md and the chart's schema agree with the settings."""

import importlib
import json
from typing import Any

from tests.documents.reading import ROOT

writer: Any = importlib.import_module("docs.write_settings")


def test_the_page_is_that_of_the_settings() -> None:
    kept = (ROOT / "docs/settings.md").read_text(encoding="utf-8")

    assert kept == writer.page(), "python docs/write_settings.py writes it anew"


def test_the_chart_takes_what_gateways_and_workers_read_and_no_secret() -> None:
    kept = (ROOT / "deploy/helm/lexiseg/values.schema.json").read_text(encoding="utf-8")

    assert kept == writer.chart(kept), "python docs/write_settings.py writes it anew"
    parts = json.loads(kept)["$defs"]
    assert parts["gatewaySettings"]["properties"]["rate_limit"] == {
        "type": ["number", "string"],
        "exclusiveMinimum": 0,
        "maximum": 1e6,
    }
    for part in ("gatewaySettings", "workerSettings"):
        assert not {"worker_token", "api_keys", "redis_url", "label_studio_api_key"} & set(parts[part]["properties"])
