"""What is wrong with a request, in its sender's words: pydantic's findings as fields, values and expectations."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lexiseg_service.errors import MOST_FINDINGS, InvalidValue

M = TypeVar("M", bound=BaseModel)
CLASSES = "classes"
LONGEST_COMPARED = 80  # characters of a misspelt name: the time that a likeness takes grows with them
BRANCHES = {"ClassInput", "BackgroundInput"}
PLAIN = {"bool", "constrained-str", "str"}
# pydantic's kinds of findings whose messages speak of Python.
NAMES_OF_KINDS = {
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "list_type": "a JSON list",
}
IMAGE = 'a JSON object: {"base64": ...}, {"url": ...} or {"id": ...}'


def validate(schema: type[M], values: dict[str, Any]) -> M:
    """A schema's object, or InvalidValue that names the wrong fields."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise _invalid(_with_those_behind(error, schema, values), schema) from None


def _with_those_behind(error: ValidationError, schema: type[BaseModel], values: dict[str, Any]) -> list[Any]:
    """pydantic's findings, with more than the first one of a list of classes.

    Of lists from outside pydantic is to say the first thing that is wrong: to say all, of tens of thousands, takes it a
    second, in which it holds Python's lock.
    """
    findings: list[Any] = error.errors(include_url=False)
    classes, at = values.get(CLASSES), -1
    while len(findings) < MOST_FINDINGS and isinstance(classes, list):
        wrong = [finding["loc"][1] for finding in findings if finding["loc"][0] == CLASSES and len(finding["loc"]) > 1]
        if not wrong or wrong[-1] == at:
            break
        at = wrong[-1]
        try:
            schema.model_validate({CLASSES: classes[at + 1 :]})
        except ValidationError as behind:
            for finding in behind.errors(include_url=False):
                name, *place = finding["loc"]
                if name == CLASSES and place:
                    findings.append({**finding, "loc": (name, at + 1 + int(place[0]), *place[1:])})
    return findings[:MOST_FINDINGS]


def _invalid(found: list[Any], schema: type[BaseModel]) -> InvalidValue:
    """pydantic's findings as ours: which field, what came, what was expected."""
    findings = []
    for finding in _of_the_branch_meant(found):
        # The branch of a union is pydantic's business, not the client's.
        field = ".".join(str(part) for part in finding["loc"] if part not in BRANCHES | PLAIN)
        findings.append(
            InvalidValue.of(
                field, finding["input"] if finding["type"] != "missing" else None, _expected(finding, schema)
            )
        )
    return InvalidValue.together(findings)


def _of_the_branch_meant(findings: list[Any]) -> list[Any]:
    """Of a field that may be plain or an object, only what is wrong with the form that came."""
    not_an_object = [
        finding for finding in findings if finding["type"] == "model_type" and finding["loc"][-1] in BRANCHES
    ]
    rest = [finding for finding in findings if finding not in not_an_object]
    objects = {
        finding["loc"][: finding["loc"].index(name)] for finding in rest for name in BRANCHES & set(finding["loc"])
    }
    return [finding for finding in rest if not (finding["loc"][:-1] in objects and finding["loc"][-1] in PLAIN)]


def _expected(finding: Any, schema: type[BaseModel]) -> str:
    if finding["type"] == "extra_forbidden":
        return f"no field of that name{_meant(finding['loc'], schema)}"
    if finding["type"] == "missing":
        return "a value; the field is missing"
    if finding["type"] in ("model_type", "model_attributes_type") and finding["loc"] == ("image",):
        return IMAGE
    if finding["type"] in NAMES_OF_KINDS:
        return NAMES_OF_KINDS[finding["type"]]
    if finding["type"] == "too_short":
        return f"at least {finding['ctx']['min_length']} items"
    if finding["type"] == "too_long":
        return f"at most {finding['ctx']['max_length']} items"
    message: str = finding["msg"]
    for beginning in ("Input should be ", "Value error, ", "String should have "):
        message = message.removeprefix(beginning)
    return message


def _meant(place: tuple[Any, ...], schema: type[BaseModel]) -> str:
    """The field that a misspelt one of the question itself is likest to."""
    near = get_close_matches(str(place[0])[:LONGEST_COMPARED], schema.model_fields, 1) if len(place) == 1 else []
    return f"; is `{near[0]}` meant?" if near else ""
