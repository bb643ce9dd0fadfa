"""Every alert has a section in the runbook, and every section an alert."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()


def alerts() -> set[str]:
    files = sorted((ROOT / "deploy/monitoring/rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    sections = re.findall(r"^### (Lexiseg\w+)$", PAGE, re.MULTILINE)

    assert len(sections) == len(set(sections))
    assert set(sections) == alerts()


def test_a_section_says_what_to_do() -> None:
    for section in re.split(r"^### Lexiseg\w+$", PAGE, flags=re.MULTILINE)[1:]:
        assert len(re.split(r"^## ", section, flags=re.MULTILINE)[0].split()) >= 15
