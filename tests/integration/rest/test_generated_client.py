"""The client that openapi-python-client generates from the promised interface works against a real server."""

import base64
import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.command import ended
from tests.integration.server import ROOT, Server

pytestmark = pytest.mark.tools

NAME = "lexiseg_generated"
PROMISED = ROOT / "proto/openapi.json"
GENERATE = "from openapi_python_client.cli import app; app()"
CLASSES = ["sky", "building", "tree"]


class Generated:
    """The generated package, bound to a server; `ask` calls an operation by its name."""

    def __init__(self, url: str) -> None:
        self.models: Any = importlib.import_module(f"{NAME}.models")
        self.types: Any = importlib.import_module(f"{NAME}.types")
        self._client = importlib.import_module(f"{NAME}.client").AuthenticatedClient(url, "no-key-needed", timeout=60)

    def ask(self, group: str, operation: str, *place: str, **named: Any) -> Any:
        """The answer with its status and headers, and what is `parsed` of it."""
        module = importlib.import_module(f"{NAME}.api.{group}.{operation}")
        return module.sync_detailed(*place, client=self._client, **named)

    def close(self) -> None:
        self._client.get_httpx_client().close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the generated package lies, as the generator leaves it: nothing has put its imports in order."""
    folder = tmp_path_factory.mktemp("generated")
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")
    command = [sys.executable, "-c", GENERATE, "generate", "--path", str(PROMISED), "--output-path", str(folder / NAME)]
    options = ["--meta", "none", "--config", str(config), "--fail-on-warning"]
    answer = ended([*command, *options])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return folder


@pytest.fixture
def generated(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Generated]:
    monkeypatch.syspath_prepend(folder)
    generated = Generated(server.url)
    yield generated
    generated.close()


def test_every_module_of_it_imports(folder: Path, generated: Generated) -> None:
    modules = [path.relative_to(folder).with_suffix("") for path in (folder / NAME).rglob("*.py")]

    for module in modules:
        importlib.import_module(".".join(module.parts).removesuffix(".__init__"))

    assert len(modules) > 50


def test_both_forms_of_a_question_are_answered_the_same(generated: Generated) -> None:
    image, models = pictures.encoded(pictures.small("china", 96)), generated.models
    form = models.SegmentForm(
        image=generated.types.File(io.BytesIO(image), "china.png", "image/png"),
        classes=CLASSES,
        mask=models.SegmentFormMask.POLYGON,
        overlay=True,
        threshold=0.1,
    )
    asked = models.JsonRequest(
        image=models.ImageInput(base64=base64.b64encode(image).decode()),
        classes=[*CLASSES[:2], models.ClassInput(name=CLASSES[2])],
        mask=models.JsonRequestMask.POLYGON,
        overlay=True,
        threshold=0.1,
    )

    answers = [
        generated.ask("segmentation", "segment", body=body, x_request_id="from-a-generated-client").parsed
        for body in (form, asked)
    ]

    assert [answer.id for answer in answers] == ["from-a-generated-client"] * 2
    assert {segment.label for segment in answers[0].segments} <= set(CLASSES)
    assert len(answers[0].segments) >= 2
    assert base64.b64decode(answers[0].overlay).startswith(b"\x89PNG")
    first, second = [[segment.to_dict() for segment in answer.segments] for answer in answers]
    assert first == second
    assert first[0]["mask"]["rings"]


def test_a_problem_comes_as_an_object(generated: Generated) -> None:
    models = generated.models
    asked = models.JsonRequest(image=models.ImageInput(id="nowhere"), classes=["sky", "sky"])

    problem = generated.ask("segmentation", "segment", body=asked).parsed

    assert (problem.type_, problem.status) == ("invalid-value", 422)
    assert problem.errors[0].field == "classes.1"


def test_a_vocabulary_is_kept_read_and_deleted(generated: Generated) -> None:
    given = generated.models.VocabularyInput(classes=["floor", generated.models.ClassInput(name="sofa", threshold=0.3)])

    put = generated.ask("vocabularies", "put_vocabulary", "generated", body=given, if_none_match="*")
    read = generated.ask("vocabularies", "get_vocabulary", "generated").parsed
    deleted = generated.ask("vocabularies", "delete_vocabulary", "generated", if_match=put.headers["etag"])

    assert (put.status_code, deleted.status_code) == (201, 204)
    assert [(entry.name, entry.threshold) for entry in read.classes] == [("floor", None), ("sofa", 0.3)]
