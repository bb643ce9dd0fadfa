"""Commands of the documents that this test does not run, each with the reason. Everything else it runs."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.documents.reading import Command


class Elsewhere(NamedTuple):
    """`pattern` begins where the command does; `makes` is the target of the Makefile that has to be there."""

    pattern: str
    reason: str


INSTALLS = "sets up an environment: the one that these tests run in"
CHECKS = "these tests are a part of it"
HUB = "fetches weights from the hub, or needs an official checkpoint; tests/service/commands has small ones"
HOURS = "trains for an hour on data that is not here; tests/service/commands/test_train.py runs a recipe of minutes"
DOCKER = "needs a Docker engine; deploy/compose/check.sh, check-trust.sh and check-trainer.sh are the tests of it"
CLUSTER = "needs a cluster; tests/deploy/helm installs the chart, and tests/integration/kubernetes plays an update"
MACHINES = "names machines of the reader's"
WRITES = "writes into the documents or promises of the project itself"
LOAD = "a load of minutes; tests/loadtests and tests/benchmarks run short ones"

ELSEWHERE = (
    Elsewhere(r"make (serve|test)\b", INSTALLS),
    Elsewhere(r"make (loadtest|chaos|bench|peers)\b", LOAD),
    Elsewhere(r"make (check|coverage)\b|\.ci/run", CHECKS),
    Elsewhere(r"pre-commit install", "writes into the checkout's git"),
    Elsewhere(r"\. \.venv/bin/activate", INSTALLS),
    Elsewhere(r"(\S*/)?pip install ", INSTALLS),
    Elsewhere(
        r"(sudo )?([A-Z_]+=\S* )*(docker |deploy/compose/check(-trust)?\.sh|cp deploy/compose/env\.example)",
        DOCKER,
    ),
    Elsewhere(r"(helm|kubectl) ", CLUSTER),
    Elsewhere(r"ray start ", MACHINES),
    Elsewhere(r"lexiseg models pull s3:", "needs a store; tests/service/commands has one of its own"),
    Elsewhere(
        r"lexiseg models (use|back) tcl",
        "needs versions of tcl; tests/integration/fleet/test_versions.py has some of tiny",
    ),
    Elsewhere(r"lexiseg models import ", HUB),
    Elsewhere(r"lexiseg serve .*(dense-clip|tcl|unpair-seg|s-seg|models\.yaml)", HUB),
    Elsewhere(r"lexiseg worker .*--model tcl", HUB),
    Elsewhere(r"lexiseg eval --model (tcl|unpair-seg) ", HUB),
    Elsewhere(
        r"lexiseg train finetune",
        "needs pictures of the reader's; tests/model/methods/tiny/training tunes on drawn ones",
    ),
    Elsewhere(r"lexiseg train tiny(?!-smoke --dry-run)", HOURS),
    Elsewhere(r"lexiseg train (dino|s-seg|tcl|unpair-seg)", "trains for days, or minutes, on data that is not here"),
    Elsewhere(
        r"lexiseg data entities .*--endpoint ", "needs a model behind an endpoint; tests/model/data/entities has one"
    ),
    Elsewhere(r"lexiseg data pseudo-label .*--model s-seg", HUB),
    Elsewhere(
        r"lexiseg data (pseudo-label|entities) \.\./shared/",
        "reads data that is not here; tests/service/commands/data has small ones",
    ),
    Elsewhere(r"lexiseg bulk \"s3://", "needs a bucket and a cluster; tests/integration/bulk has two nodes"),
    Elsewhere(r"torchrun ", HOURS),
    Elsewhere(r"python -m lexiseg_model\.training\.parts", "packs of data that is not here; test_parts.py sends some"),
    Elsewhere(
        r"python -m lexiseg_model\.methods\.tiny\.(click_fit|boxes\.fit|training\.familiar_words|training\.levels)",
        "needs data sets that are not here",
    ),
    Elsewhere(
        r"python -m lexiseg_service\.commands\.evaluate\.things",
        "tests/service/commands/evaluate/test_things.py runs it",
    ),
    Elsewhere(r"lexiseg data prepare ", "needs official archives; tests/model/data/preparing makes small ones"),
    Elsewhere(
        r"lexiseg export --model tiny (--int8 )?--photos", "tests/service/commands/models/test_export.py runs it"
    ),
    Elsewhere(r"lexiseg gateway .*--workers (dns:///workers|10\.)", MACHINES),
    Elsewhere(r"lexiseg video (rtsp:|/dev/video0)", "needs a camera; tests/service/commands/video streams a file"),
    Elsewhere(r"LEXISEG_REDIS_URL=\S*@cache:", MACHINES),
    Elsewhere(r"redis-cli .*unlink", "deletes from the reader's Redis"),
    Elsewhere(r"curl .*lexiseg_…", "needs the key that `lexiseg keys new` showed; tests/integration/test_access.py"),
    Elsewhere(r"locust -f", LOAD),
    Elsewhere(r"python -m (loadtests|benchmarks)\.?\S* ", LOAD),
    Elsewhere(r"buf build ", WRITES),
    Elsewhere(r"openapi-python-client ", "tests/integration/rest/test_generated_client.py runs it"),
)


def reason(command: Command) -> str | None:
    """Why a command is not run here; None for one that is."""
    return next((entry.reason for entry in ELSEWHERE if re.match(entry.pattern, command.bare, re.DOTALL)), None)


def matched(entry: Elsewhere, command: Command) -> bool:
    return bool(re.match(entry.pattern, command.bare, re.DOTALL))
