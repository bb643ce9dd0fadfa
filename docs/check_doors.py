"""Check that docs/threats.md has a row with a test for each door by which strangers hand something in.

    python docs/check_doors.py

Doors are the routes that change something or take a body, the page's own too, other tools' adapters, and the methods
of the gRPC services.
A row that names no door any more is a fault, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from starlette.routing import Route

from lexiseg_client.stubs import segmentation_pb2, worker_pb2
from lexiseg_service.entry_points import ADAPTERS, entry_points_of
from lexiseg_service.gateway.app import described, with_routes
from lexiseg_service.gateway.rest import export_routes

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threats.md"
HEADING = "## Doors"
READING = {"get", "head", "options", "parameters"}
NAMED = re.compile(r"`([^`]+)`")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def doors() -> Iterator[str]:
    """Every door, by the name that its row has."""
    for path, methods in described(with_routes(), (), keys_needed=False)["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods if method not in READING)
    for route in export_routes.router.routes:  # of the page alone: OpenAPI lacks it
        if isinstance(route, Route):
            yield from (f"{method} {route.path}" for method in route.methods or ())
    yield from (f"adapter {name}" for name in entry_points_of(ADAPTERS))
    for file in (segmentation_pb2, worker_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from (f"{service.name}.{method.name}" for method in service.methods)


def faults(known: set[str], page: str) -> list[str]:
    """What is wrong with the rows of a page, a line each."""
    section = page.partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    named = {door for row in rows for door in NAMED.findall(row[0])}
    lacking = [f"{door}: no row in {PAGE.name}, {HEADING[3:]}" for door in sorted(known - named)]
    gone = [f"{door}: there is no such door" for door in sorted(named - known)]
    return [*lacking, *gone, *(f"{row[0].strip()}: no test that exists" for row in rows if not _is_tested(row[-1]))]


def _is_tested(cell: str) -> bool:
    tests = TEST.findall(cell)
    return bool(tests) and all(
        (ROOT / file).is_file() and f"def {name}(" in (ROOT / file).read_text(encoding="utf-8") for file, name in tests
    )


if __name__ == "__main__":
    found = faults(set(doors()), PAGE.read_text(encoding="utf-8"))
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)
