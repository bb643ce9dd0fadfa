"""The promised interface of the package, and what a model without a capability answers."""

import ast
import inspect
import sys
from collections.abc import Callable

import pytest

import lexiseg_model
from lexiseg_model import abilities
from lexiseg_model.errors import ExamplesError, TaskError
from lexiseg_model.segmenter import Segmenter
from tests.command import ended
from tests.model.methods.s_seg_plus import small
from tests.test_architecture import ROOT


def test_every_promised_name_is_there() -> None:
    assert [name for name in lexiseg_model.__all__ if getattr(lexiseg_model, name, None) is None] == []


def test_another_name_is_none_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lexiseg_model.nothing


def test_the_page_of_versions_promises_the_names_that_the_package_imports() -> None:
    assert "`lexiseg_model`" in (ROOT / "docs/versions.md").read_text().split("**Not promised**")[0]


def test_errors_and_types_are_read_without_torch() -> None:
    program = "import sys; from lexiseg_model import ModelCard, ShapeError; sys.exit('torch' in sys.modules)"

    assert ended([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("of", "kind", "message"),
    [
        (abilities.prompts_of, TaskError, "takes no prompts"),
        (abilities.proposing, TaskError, "proposes no masks"),
        (abilities.regions_of, TaskError, "does not classify masks"),
        (abilities.examples_of, ExamplesError, "takes no classes by example"),
        (abilities.places_of, TaskError, "does not track objects through a video"),
    ],
)
def test_a_model_without_the_methods_of_a_protocol_cannot_do_it(
    of: Callable[[Segmenter], object], kind: type[TaskError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        of(small.segmenter("fast"))


def test_no_default_of_a_method_says_that_it_is_missing() -> None:
    [base] = ast.parse(inspect.getsource(Segmenter)).body

    assert [node.lineno for node in ast.walk(base) if isinstance(node, ast.Raise)] == []
