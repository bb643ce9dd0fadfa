"""Every command line of README and docs, run as a reader would run it against one real server.

A new command in a document is run from then on. What cannot run here stands in `elsewhere.py`, with the reason.
"""

from __future__ import annotations

import re

import pytest

from tests.documents.conftest import Shell
from tests.documents.elsewhere import ELSEWHERE, Elsewhere, matched, reason
from tests.documents.reading import ROOT, Command, blocks, commands, documents, typed_outside_shell_blocks

SERVES = re.compile(r"(?:[A-Z_]+=\S+ )*lexiseg (?:serve|gateway|worker|mcp --http)\b")
# Programs of the environment: whoever reads of them must have been told to activate it.
OF_THE_ENVIRONMENT = re.compile(r"(?:[A-Z_]+=\S+ )*(?:lexiseg|locust|buf|python) ")
ACTIVATE = ". .venv/bin/activate"
ITS_PYTHON_IS_RUN_BY = {"clients/python/README.md": "tests/clients/test_readme.py"}
DOCUMENTS = documents()
EVERY_COMMAND = [command for document in DOCUMENTS for command in commands(document)]


def runs(document: str) -> bool:
    return any(reason(command) is None for command in commands(document))


def python_of(document: str) -> str:
    return "\n".join(block.text for block in blocks(document) if block.language == "python")


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if runs(name) or python_of(name)])
def test_what_a_document_says_to_type_works(document: str, shell: Shell) -> None:
    for command in commands(document):
        if reason(command) is not None:
            continue
        at = f"{command.document}:{command.line}: {command.text}"
        if SERVES.match(command.bare):
            said, status = shell.greeting(command.bare)
            assert (said.startswith("lexiseg "), status) == (True, 0), f"{at}\n{said}"
            continue
        outcome = shell.run(command.text)
        assert outcome.returncode == 0, f"{at}\n{outcome.stdout[-2000:]}\n{outcome.stderr[-2000:]}"
    if document not in ITS_PYTHON_IS_RUN_BY and (code := python_of(document)):
        outcome = shell.python(code)
        assert outcome.returncode == 0, f"{document}: its Python\n{outcome.stderr[-2000:]}"
        assert bool(outcome.stdout.strip()) == ("print(" in code)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_to_be_typed_stands_in_blocks_of_the_shell(document: str) -> None:
    assert typed_outside_shell_blocks(document) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_who_is_told_to_type_a_command_of_the_environment_is_told_where_it_is(document: str) -> None:
    typed = [command.bare for command in commands(document)]

    if any(OF_THE_ENVIRONMENT.match(text) for text in typed):
        first = next(index for index, text in enumerate(typed) if OF_THE_ENVIRONMENT.match(text))
        assert ACTIVATE in typed[:first]


@pytest.mark.parametrize("entry", ELSEWHERE, ids=lambda entry: entry.pattern)
def test_no_exception_outlives_its_command(entry: Elsewhere) -> None:
    assert any(matched(entry, command) for command in EVERY_COMMAND)


def test_an_address_of_the_service_shows_what_went_wrong() -> None:
    """`curl -s` alone hides a file that is not there."""
    assert [command for command in EVERY_COMMAND if re.search(r"\bcurl (?!-sS )", command.text)] == []


def test_make_knows_every_target_that_is_named() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {found for command in EVERY_COMMAND for found in re.findall(r"^make ([a-z]+)", command.bare)}

    assert {"serve", "test"} <= named <= targets


def test_a_command_goes_on_to_where_it_ends() -> None:
    found = {(command.document, command.text.count("\n")) for command in EVERY_COMMAND}

    assert ("docs/vocabularies.md", 3) in found  # a quotation over four lines
    assert Command("README.md", 1, "a \\\n  b  # why").bare == "a \\\n  b"
