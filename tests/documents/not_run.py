"""Commands of the documents that the tests do not run, each with the reason."""

import re
from typing import NamedTuple

from tests.documents.reading import Command


class NotRun(NamedTuple):
    """`pattern` matches a command from its beginning."""

    pattern: str
    reason: str


INSTALLS = "sets up the environment that these tests run in"
HUB = "fetches weights, or needs an official checkpoint; tests/service/commands has small ones"
HOURS = "trains for long, on data that is not here; tests/train/commands/test_train.py runs a recipe of minutes"
DATA = "reads data that is not here; tests/train/commands/test_data.py has small ones"
LOAD = "a load of minutes; tests/loadtests and tests/benchmarks run short ones"
MACHINES = "names machines of the reader's"

NOT_RUN = (
    NotRun(r"make (serve|full|test|quick|check|coverage)\b|\.ci/run|pre-commit install", INSTALLS),
    NotRun(r"\. \.venv/bin/activate|(\S*/)?pip install |apt-get install |git clone ", INSTALLS),
    NotRun(r"make (loadtest|chaos|bench|peers)\b|locust -f|python -m loadtests\.", LOAD),
    NotRun(
        r"(sudo )?([A-Z_]+=\S* )*(docker |deploy/compose/check(-trust)?\.sh|cp deploy/compose/env\.example)",
        "needs a Docker engine; deploy/compose/check.sh is the test of it",
    ),
    NotRun(r"(helm|kubectl) ", "needs a cluster; tests/deploy/helm installs the chart"),
    NotRun(r"lexiseg serve$", "the server that the other commands ask is one"),
    NotRun(r"ray start |lexiseg bulk \"s3://", "needs a cluster; tests/integration/batch has two nodes"),
    NotRun(r"lexiseg models pull s3:", "needs a store; tests/service/commands has one"),
    NotRun(r"lexiseg models (use|back) tcl", "needs versions of tcl; tests/integration/fleet has some of tiny"),
    NotRun(r"lexiseg models (import|prove) |lexiseg serve .*(dense-clip|tcl|tipsv2)|lexiseg worker .*--model tcl", HUB),
    NotRun(r"lexiseg (eval benchmark --model tcl|data pseudo-label .*--model s-seg|bulk .*--model corrclip)", HUB),
    NotRun(r"lexiseg eval paper ", "reads sets that are not here; tests/train/commands/evaluate has one"),
    NotRun(r"lexiseg train (?!--list)|torchrun ", HOURS),
    NotRun(r"curl .*/v1/trainings ", "trains for minutes; tests/service/gateway/rest has small ones"),
    NotRun(r"lexiseg data (fetch |prepare |entities |licences |check /data/)|python -m lexiseg_train\.", DATA),
    NotRun(r"sed -i \S+ cc\d+m\.tsv|\(echo 'url|img2dataset |mkdir -p /data/sa-1b", DATA),
    NotRun(r"lexiseg export --model tiny ", "takes a minute; tests/service/commands/models/test_export.py runs it"),
    NotRun(r"lexiseg gateway .*--workers |LEXISEG_REDIS_URL=\S*@cache:", MACHINES),
    NotRun(r"lexiseg video (rtsp:|/dev/video0)", "needs a camera; tests/service/commands/video streams a file"),
    NotRun(r"redis-cli .*unlink", "deletes from the reader's Redis"),
    NotRun(r"curl .*lexiseg_…", "needs a key that was just made; tests/service/commands/serving makes one"),
    NotRun(
        r"(\(cd model && )?python setup\.py|python -m (pytest|benchmarks) ",
        "builds the kernel; these tests, and a load of minutes",
    ),
    NotRun(r"buf build |git rev-parse ", "writes a promise of the project"),
    NotRun(r"openapi-python-client ", "tests/integration/rest/test_generated_client.py runs it"),
)


def matches(entry: NotRun, command: Command) -> bool:
    return bool(re.match(entry.pattern, command.bare, re.DOTALL))


def reason(command: Command) -> str | None:
    """Why a command is not run here; None for one that is."""
    return next((entry.reason for entry in NOT_RUN if matches(entry, command)), None)
