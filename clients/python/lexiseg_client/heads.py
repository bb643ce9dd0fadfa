"""`client.heads`: classes that a server is taught by reviewed pictures."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lexiseg_client.address import PREFIX, path_of
from lexiseg_client.calling.calls import Calls
from lexiseg_client.calling.steps import Call, Resource, Send, Work, awaited
from lexiseg_client.images import ImageLike, load
from lexiseg_client.question import Class, Classes, Example, classes_json, example_json, source_json
from lexiseg_client.rest import json_as, of_json, read
from lexiseg_labels.answers import AnswerWarning

ROUTE = f"{PREFIX}/heads"
MAX_REQUEST_BYTES = 12 * 2**20  # of pictures in one request; a server takes somewhat more
MAX_REQUEST_PICTURES = 20  # two busy cores answer these before a server's default deadline
BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Labelled(Example):
    """A labelled region of a reviewed picture, by a box and points, or by a mask.

    `label`: one of the head's classes; None: unknown, its pixels teach nothing.
    """

    label: str | None = None


@dataclass(frozen=True)
class Picture:
    """A reviewed picture: every object of the reviewed classes is among `objects`, later ones above earlier ones.

    `key`: its name in the head; None: the id of its image. `reviewed`: the classes that were looked for; None: all.
    """

    image: ImageLike
    objects: Sequence[Labelled] = ()
    key: str | None = None
    reviewed: Sequence[str] | None = None


@dataclass(frozen=True)
class TaughtClass:
    """A class of a head. IoUs are percent of pixels on its reviewed pictures, None where too few show it.

    `iou_taught` is that of heads that saw no picture like it; of less than five pictures `iou_range` is [low, high], of
    such heads and of one that saw all; `wants`: how many more pictures it should have; `kept`: "words" if it is found
    by only these, as pictures that were left out are not found better.
    """

    name: str
    synonyms: tuple[str, ...]
    pictures: int
    iou_words: float | None
    iou_taught: float | None
    wants: int
    kept: str | None = None
    iou_range: Sequence[float] | None = None


@dataclass(frozen=True)
class Head:
    """Classes taught by reviewed pictures; `NAME@version` in a request takes only this version."""

    name: str
    version: str
    model: str  # NAME@VERSION
    pictures: int
    classes: tuple[TaughtClass, ...]
    keys: tuple[str, ...] = ()  # of its pictures; empty in a list of heads
    warnings: tuple[AnswerWarning, ...] = ()
    expires: str | None = None  # RFC 3339: removed then, unless it is changed; None: it stays
    image_passes: int = 1  # that a picture takes with it


def picture_json(picture: object, field: str) -> dict[str, Any]:
    if not isinstance(picture, Picture):
        raise TypeError(f"{field}: expected a Picture, got {picture!r:.60}")
    objects = []
    for number, each in enumerate(picture.objects):
        where = f"{field}.objects.{number}"
        if not isinstance(each, Labelled) or each.image is not None:
            raise TypeError(f"{where}: expected a Labelled region of the picture itself, got {each!r:.60}")
        objects.append({"class": each.label, **example_json(each, where)})
    named = {"key": picture.key, "reviewed": None if picture.reviewed is None else list(picture.reviewed)}
    return {
        "image": source_json(load(picture.image)),
        "objects": objects,
        **{name: value for name, value in named.items() if value is not None},
    }


def taught_json(classes: Classes) -> list[Any]:
    """Classes of a head as JSON. Raises ValueError: one has more than a name and synonyms."""
    for entry in classes:
        if isinstance(entry, Class) and Class(entry.name, entry.synonyms) != entry:
            raise ValueError(f"{entry.name!r}: a class of a head has a name and synonyms, nothing else")
    return classes_json(classes)


def head_of(document: Mapping[str, Any]) -> Head:
    return of_json(
        Head,
        document,
        classes=tuple(of_json(TaughtClass, each, synonyms=tuple(each["synonyms"])) for each in document["classes"]),
        keys=tuple(document.get("keys", ())),
        warnings=tuple(of_json(AnswerWarning, {"field": None, **each}) for each in document.get("warnings", ())),
    )


class Heads(Resource):
    """Classes taught by reviewed pictures, by name: `client.heads`; for `segment(head=...)`."""

    def create(
        self,
        name: str,
        classes: Classes,
        pictures: Sequence[Picture],
        *,
        model: str | None = None,
        keep_days: float | None = None,
        timeout: float | None = None,
    ) -> Head:
        """Create a head from reviewed pictures; many are sent in several requests, each of which teaches it more.

        Args:
            name: at most 64 characters of a-z, 0-9 and -.
            classes: names, or `Class` objects with only synonyms.
            pictures: at least one.
            model: NAME or NAME@VERSION that is taught; None: the server's default.
            keep_days: after its last change, 1 to 3,650, from which it is removed; None: it stays, in `put` as before.
            timeout: seconds; None: the client's.

        Raises:
            TypeError, ValueError: an invalid class or picture; nothing was sent.
            NameTaken: there is a head of this name.
            InvalidValue: the server refuses a class or a picture.
            SwitchedOff: the server keeps nothing of pictures.
        """
        body = {"name": name, "classes": taught_json(classes), "model": model, "keep_days": keep_days}
        return self._run(_taught(self._calls, Send("POST", ROUTE, repeatable=False), name, body, pictures, timeout))

    def create_from_zip(
        self,
        name: str,
        archive: bytes,
        *,
        keep_days: float | None = None,
        replace: bool = False,
        timeout: float | None = None,
    ) -> Head:
        """Create a head from a zip of labelled pictures, as annotation tools export them. Errors as of `create`.

        With `replace` it takes the place of a head that has the name, which stays if this fails.
        """
        request = json.dumps({"name": name, "keep_days": keep_days})
        files = {"archive": ("pictures.zip", archive, "application/zip"), "request": (None, request)}
        method, path = ("PUT", path_of(ROUTE, name)) if replace else ("POST", ROUTE)
        return self._ask(Send(method, path, body={"files": files}, repeatable=replace), json_as(head_of), timeout)

    def put(
        self,
        name: str,
        pictures: Sequence[Picture] = (),
        *,
        classes: Classes | None = None,
        remove: Sequence[str] = (),
        keep_days: float | None = None,
        timeout: float | None = None,
    ) -> Head:
        """Change a head: add pictures, each in place of that of the same key, add classes, and take pictures out.

        A head that is not there is created. Errors as of `create`, and:

        Raises:
            ModelChanged: the model has other weights than the head was taught on.
        """
        taught = None if classes is None else taught_json(classes)
        body = {"classes": taught, "keep_days": keep_days, "remove": list(remove)}
        return self._run(_taught(self._calls, Send("PUT", path_of(ROUTE, name)), name, body, pictures, timeout))

    def get(self, name: str, *, timeout: float | None = None) -> Head:
        """Get a head. Raises UnknownHead: no such head."""
        return self._ask(Send("GET", path_of(ROUTE, name)), json_as(head_of), timeout)

    def list(self, *, timeout: float | None = None) -> builtins.list[Head]:
        """List the heads of this API key, without the keys of their pictures."""
        return self._ask(Send("GET", ROUTE), json_as(lambda page: [head_of(entry) for entry in page["heads"]]), timeout)

    def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a head, and what is kept of its pictures. Raises UnknownHead: no such head."""
        return self._ask(Send("DELETE", path_of(ROUTE, name), repeatable=False), lambda _: None, timeout)

    def export(self, name: str, *, timeout: float | None = None) -> bytes:
        """Return a head as a file, for `restore` here or elsewhere. Raises UnknownHead: no such head."""
        return self._ask(Send("GET", f"{path_of(ROUTE, name)}?export=1"), lambda reply: reply.content, timeout)

    def restore(self, name: str, content: bytes, *, timeout: float | None = None) -> Head:
        """Keep an exported head under a name, in place of the one that has it.

        Raises:
            InvalidValue: the content is no exported head.
            ModelChanged: the server's model has other weights.
        """
        return self._ask(Send("PUT", path_of(ROUTE, name), BYTES, {"content": content}), json_as(head_of), timeout)


class AsyncHeads(Resource):
    """As `Heads`, to await."""

    create = awaited(Heads.create)
    create_from_zip = awaited(Heads.create_from_zip)
    put = awaited(Heads.put)
    get = awaited(Heads.get)
    list = awaited(Heads.list)
    delete = awaited(Heads.delete)
    export = awaited(Heads.export)
    restore = awaited(Heads.restore)


def _taught(
    calls: Calls, first: Send, name: str, body: dict[str, Any], pictures: Sequence[Picture], timeout: float | None
) -> Call[Head]:
    """Send a change, with further requests for the pictures that do not fit into the first."""
    deadline, content = calls.deadline(timeout), b""
    optional = {field: value for field, value in body.items() if value is not None}
    bodies = yield Work(lambda: [*_bodies(optional, pictures)])
    for number, each in enumerate(bodies):
        request = replace(Send("PUT", path_of(ROUTE, name)) if number else first, body={"json": each})
        content = yield from calls.rest.ask(request, lambda reply: reply.content, deadline)
    return read(content, head_of)


def _bodies(first: dict[str, Any], pictures: Sequence[Picture]) -> Iterator[dict[str, Any]]:
    """JSON bodies that hold all pictures, each of bounded size; `first` joins the first of them."""
    some: list[dict[str, Any]] = []
    body, n_bytes = first, 0
    for number, picture in enumerate(pictures):
        document = picture_json(picture, f"pictures.{number}")
        size = len(json.dumps(document))
        if some and (n_bytes + size > MAX_REQUEST_BYTES or len(some) == MAX_REQUEST_PICTURES):
            yield {**body, "pictures": some}
            body, some, n_bytes = {}, [], 0
        some.append(document)
        n_bytes += size
    yield {**body, "pictures": some}
