"""Check the REST interface for breaking changes against `proto/openapi.json`: `python proto/openapi.py check | write`.

`check` fails if the file differs from the routes and lists breaking changes. `write` updates the file (`make openapi`);
it refuses breaking changes unless forced. Clients are expected to ignore unknown fields of answers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lexiseg_service.gateway.app import described, with_routes
from lexiseg_service.gateway.rest.middleware import METRICS, OPEN_PATHS
from lexiseg_service.gateway.rest.paths import STABLE

FILE = Path(__file__).resolve().parent / "openapi.json"
# Bounds of request values: lower ones may only fall, upper ones only rise.
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")

Json: TypeAlias = dict[str, Any]
Side: TypeAlias = Literal["request", "answer"]


def document() -> Json:
    """The OpenAPI document of the current routes, with the interface's version."""
    content = described(with_routes(), OPEN_PATHS | {METRICS}, keys_needed=False)
    content["info"]["version"] = STABLE.removeprefix("/")
    return content


def text(content: Json) -> str:
    """A document as the text of the file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def breaks(old: Json, new: Json) -> list[str]:
    """Breaking changes for clients of the old document, one line each."""
    return list(dict.fromkeys(Comparison(old, new).operations()))


class Comparison:
    """Compares two documents; every method yields breaking changes."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new
        self._in_progress: set[tuple[str, str, Side]] = set()  # pairs of references being compared, against recursion

    def operations(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                name = f"{method.upper()} {path}"
                renewed = self._new["paths"].get(path, {}).get(method)
                if renewed is None:
                    yield f"{name}: the operation is gone"
                else:
                    yield from self._operation(name, operation, renewed)

    def _operation(self, name: str, old: Json, new: Json) -> Iterator[str]:
        if old.get("operationId") != new.get("operationId"):
            yield f"{name}: operationId {old.get('operationId')} became {new.get('operationId')}"
        if {} in old.get("security", [{}]) and {} not in new.get("security", [{}]):
            yield f"{name}: needs a key now"
        yield from self._parameters(name, old, new)
        if "requestBody" in old or new.get("requestBody", {}).get("required"):
            yield from self._body(name, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            renewed = new["responses"].get(status)
            if renewed is not None:
                yield from self._contents(f"{name} {status}", answer, renewed, "answer")
            elif status.startswith("2"):
                yield f"{name}: no longer answers {status}"

    def _parameters(self, name: str, old: Json, new: Json) -> Iterator[str]:
        before, after = ({(p["in"], p["name"].lower()): p for p in side.get("parameters", [])} for side in (old, new))
        for key, parameter in before.items():
            where = f"{name}, {key[0]} {key[1]}"
            if key not in after:
                yield f"{where}: the parameter is gone"
            else:
                if after[key].get("required") and not parameter.get("required"):
                    yield f"{where}: is required now"
                yield from self._schema(where, parameter["schema"], after[key]["schema"], "request")
        for key in after.keys() - before.keys():
            if after[key].get("required"):
                yield f"{name}, {key[0]} {key[1]}: a new parameter that is required"

    def _body(self, name: str, old: Json | None, new: Json | None) -> Iterator[str]:
        if old is None:
            yield f"{name}: a body is required now"
        elif new is None:
            yield f"{name}: takes no body any more"
        else:
            if new.get("required") and not old.get("required"):
                yield f"{name}: a body is required now"
            yield from self._contents(f"{name}, body", old, new, "request")

    def _contents(self, where: str, old: Json, new: Json, side: Side) -> Iterator[str]:
        for kind, content in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{where}: {kind} is gone"
            elif "schema" in content and "schema" in new["content"][kind]:
                yield from self._schema(f"{where} {kind}", content["schema"], new["content"][kind]["schema"], side)

    def _schema(self, where: str, old: Json, new: Json, side: Side) -> Iterator[str]:
        pair = (old.get("$ref", ""), new.get("$ref", ""), side)
        if all(pair):
            if pair in self._in_progress:
                return
            self._in_progress.add(pair)
        try:
            yield from self._variants(where, _variants(old, self._old), _variants(new, self._new), side)
        finally:
            self._in_progress.discard(pair)

    def _variants(self, where: str, old: list[Json], new: list[Json], side: Side) -> Iterator[str]:
        """Every variant that the sender may use must still be accepted by the receiver."""
        sent, taken = (old, new) if side == "request" else (new, old)
        for variant in sent:
            same_kind = [other for other in taken if _fits(_kind(variant), _kind(other))]
            if not same_kind:
                verb = "is no longer taken" if side == "request" else "may come now"
                yield f"{where}: {_kind(variant)} {verb}"
                continue
            attempts = [
                list(self._same_kind(where, *((variant, other) if side == "request" else (other, variant)), side))
                for other in same_kind
            ]
            yield from min(attempts, key=len)

    def _same_kind(self, where: str, old: Json, new: Json, side: Side) -> Iterator[str]:
        yield from _values(where, old, new, side)
        if side == "request":
            yield from _bounds(where, old, new)
        for name, schema in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                yield from self._schema(f"{where}.{name}", schema, new["properties"][name], side)
            else:
                yield f"{where}.{name}: the field is gone"
        was, now = set(old.get("required", [])), set(new.get("required", []))
        for name in sorted(now - was if side == "request" else was - now):
            if side == "request":
                yield f"{where}.{name}: is required now"
            elif name in new.get("properties", {}):
                yield f"{where}.{name}: may be left out now"
        for part in ("items", "additionalProperties"):
            if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
                yield from self._schema(f"{where}[]", old[part], new[part], side)
        closed_before, closed = (s.get("additionalProperties") is False for s in (old, new))
        if side == "request" and closed and not closed_before:
            yield f"{where}: takes no fields of other names any more"
        places = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(places[0]) != len(places[1]):
            yield f"{where}: {len(places[0])} places became {len(places[1])}"
        for index, (before, after) in enumerate(zip(*places, strict=False)):
            yield from self._schema(f"{where}.{index}", before, after, side)


def _variants(schema: Json, whole: Json) -> list[Json]:
    """The variants of a schema, with references resolved."""
    while "$ref" in schema:
        schema = whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return [variant for option in options for variant in _variants(option, whole)]
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else [schema]


def _kind(variant: Json) -> str:
    return variant.get("type") or "anything"


def _fits(sent: str, taken: str) -> bool:
    return sent == taken or taken == "anything" or (sent, taken) == ("integer", "number")


def _values(where: str, old: Json, new: Json, side: Side) -> Iterator[str]:
    before, after = ([s["const"]] if "const" in s else s.get("enum") for s in (old, new))
    if before is None and after is not None and side == "request":
        yield f"{where}: only {', '.join(map(str, after))} are taken now"
    if before is not None and after is not None:
        for value in before:
            if value not in after:
                yield f"{where}: the value {value} is gone"


def _bounds(where: str, old: Json, new: Json) -> Iterator[str]:
    for name in (*LOWER, *UPPER):
        before, after = old.get(name), new.get(name)
        if after is None or before == after:
            continue
        if before is None or (after > before if name in LOWER else after < before):
            yield f"{where}: {name} {before} became {after}"
    for name in ("pattern", "format"):
        if new.get(name) is not None and new.get(name) != old.get(name):
            yield f"{where}: {name} {old.get(name)} became {new[name]}"


def main() -> None:
    """Check or write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["check", "write"])
    parser.add_argument("--break-the-promise", action="store_true", help="write breaking changes, too")
    options = parser.parse_args()
    current = document()
    promised = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"paths": {}}
    broken = breaks(promised, current)
    if broken and not options.break_the_promise:
        sys.exit("\n".join(["this would break clients of proto/openapi.json:", *(f"  {line}" for line in broken)]))
    if options.what == "write":
        FILE.write_text(text(current), encoding="utf-8")
    elif text(promised) != text(current):
        sys.exit("proto/openapi.json is out of date (no breaking changes): run `make openapi`")


if __name__ == "__main__":
    main()
