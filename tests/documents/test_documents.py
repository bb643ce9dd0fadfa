"""Every command of README and docs, run as a reader would run it against one real server.

A new command in a document is run from then on. What cannot run here is in `not_run.py`, with the reason.
"""

import re

import pytest

from tests.documents.conftest import Shell
from tests.documents.not_run import NOT_RUN, reason
from tests.documents.reading import FENCE, ROOT, Command, blocks, commands, documents
from tests.service.commands.command_line import CommandLine

SERVES = re.compile(r"(?:[A-Z_]+=\S+ )*lexiseg (?:serve|gateway|worker|mcp --http)\b")
# Only settings, or options that the server of all tests has, too: the start is that of other commands.
SERVES_WITH = re.compile(r"(?:[A-Z_]+=\S+ )+lexiseg serve$|lexiseg serve --(?:adapters|jobs)\b")
IN_PROCESS = re.compile(r"lexiseg [^|<>$]*$", re.DOTALL)  # no pipes and files: those need a shell
OF_THE_ENVIRONMENT = re.compile(r"(?:[A-Z_]+=\S+ )*(?:lexiseg|locust|buf|python) ")
ACTIVATE = ". .venv/bin/activate"
TYPED = re.compile(r"\$? ?(?:[A-Z_]+=\S+ )*(?:lexiseg|curl|docker|pip|python|make|grpcurl|locust|buf|redis-cli|git) \S")
PYTHON_RUN_BY = {"clients/python/README.md": "tests/clients/test_readme.py"}
DOCUMENTS = documents()
EVERY_COMMAND = [command for document in DOCUMENTS for command in commands(document)]


def python_of(document: str) -> str:
    return "" if document in PYTHON_RUN_BY else "\n".join(block.text for block in blocks(document, "python"))


def run(command: Command, shell: Shell, lexiseg: CommandLine) -> str:
    """Run a command; return what went wrong, or nothing."""
    if SERVES_WITH.match(command.bare):
        # They are read before it is seen that the port is taken, by the server that answers the other commands.
        said = shell.bash(f"{command.bare} --http-port {shell.addresses['localhost:8000'].rpartition(':')[2]}").stderr
        return "" if "is it taken?" in said else f"not refused for its port: {said}"
    if SERVES.match(command.bare):
        line, status = shell.first_line(command.bare)
        return "" if line.startswith("lexiseg ") and status == 0 else f"{status}: {line}"
    if IN_PROCESS.match(command.bare):
        outcome = lexiseg(*shell.words(command.bare)[1:])
        return outcome.out + outcome.err if outcome.status else ""
    process = shell.bash(command.text)
    return process.stdout + process.stderr if process.returncode else ""


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if commands(name) or python_of(name)])
def test_what_a_document_says_to_type_works(document: str, shell: Shell, lexiseg: CommandLine) -> None:
    for command in commands(document):
        if reason(command) is None:
            assert run(command, shell, lexiseg) == "", f"{command.document}:{command.line}: {command.text}"
    if code := python_of(document):
        outcome = shell.python(code)
        assert outcome.returncode == 0, f"{document}: its Python\n{outcome.stderr[-2000:]}"
        assert bool(outcome.stdout.strip()) == ("print(" in code)


def test_commands_are_in_shell_blocks() -> None:
    outside = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        outside += [(document, line) for block in blocks(document, "") for line in block.text.splitlines()]
        outside += [(document, line) for line in FENCE.sub("", text).splitlines() if line.startswith("    ")]

    assert [(document, line) for document, line in outside if TYPED.match(line.strip())] == []


def test_the_environment_is_activated_before_its_first_command() -> None:
    for document in DOCUMENTS:
        typed = [command.bare for command in commands(document)]

        first = next((index for index, text in enumerate(typed) if OF_THE_ENVIRONMENT.match(text)), None)
        assert first is None or ACTIVATE in typed[:first], document


def test_a_command_that_is_not_run_names_tests_that_are_there() -> None:
    named = [path for entry in NOT_RUN for path in re.findall(r"\btests/[\w/]+(?:\.py)?", entry.reason)]

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_make_knows_every_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for command in EVERY_COMMAND for target in re.findall(r"^make ([a-z]+)", command.bare)}

    assert {"serve", "test"} <= named <= targets
