"""The page of threats names a test for each, and each of these is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/threats.md"
NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:::(?P<test>test_\w+))`")
ROW = re.compile(r"^\|(?!-|\s*threat)(.+)\|$", re.MULTILINE)


def test_every_threat_names_a_test_or_a_suite() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))

    assert len(rows) > 25
    for row in rows:
        test = row.split("|")[-1]
        assert len(NAMED.findall(test)) == 1 or "`make " in test, row


def test_the_page_stays_readable() -> None:
    assert len(PAGE.read_text(encoding="utf-8").split()) < 1200


def test_every_test_that_is_named_is_there() -> None:
    missing, file = [], None
    for found in NAMED.finditer(PAGE.read_text(encoding="utf-8")):
        file = found["file"] or file
        assert file is not None
        source = (ROOT / file).read_text(encoding="utf-8")
        if f"def {found['test']}(" not in source:
            missing.append(f"{file}::{found['test']}")

    assert not missing
