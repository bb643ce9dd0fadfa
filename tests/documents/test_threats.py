"""Each row of the page of threats names a test that exists."""

from __future__ import annotations

import re

from tests.documents.reading import ROOT

PAGE = (ROOT / "docs/threats.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = re.findall(r"^\|(?!-|\s*threat)(.+)\|$", PAGE, re.MULTILINE)


def test_every_threat_names_a_test_or_a_suite() -> None:
    assert len(ROWS) > 25
    assert [row for row in ROWS if not NAMED.search(row.split("|")[-1]) and "`make " not in row.split("|")[-1]] == []


def test_every_named_test_exists() -> None:
    named = NAMED.findall(PAGE)

    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")] == []
