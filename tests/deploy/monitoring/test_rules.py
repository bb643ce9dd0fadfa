"""Prometheus rules, checked by promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.deploy.monitoring.files import RULES, TESTS, rules

SCENARIOS = [case for path in TESTS for case in yaml.safe_load(path.read_text())["tests"]]
ALERTS = {rule["alert"] for rule in rules() if "alert" in rule}


def promtool(*arguments: str | Path) -> str:
    outcome = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", *RULES)


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
