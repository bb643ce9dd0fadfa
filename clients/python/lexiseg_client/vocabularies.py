"""`client.vocabularies`: named class lists on a server."""

from __future__ import annotations

import builtins
from urllib.parse import quote

import httpx

from lexiseg_client.address import PREFIX
from lexiseg_client.calling.resource import Resource, awaited
from lexiseg_client.calling.steps import Send
from lexiseg_client.question.options import Classes, Unpack
from lexiseg_client.question.vocabulary import (
    Vocabulary,
    VocabularyOptions,
    VocabularySummary,
    summary_of,
    vocabulary_json,
    vocabulary_of,
)
from lexiseg_client.rest import json_as, read

ROUTE = f"{PREFIX}/vocabularies"


class Vocabularies(Resource):
    """Named class lists on a server: `client.vocabularies`."""

    def list(self, *, timeout: float | None = None) -> builtins.list[VocabularySummary]:
        """List built-in and user vocabularies, without their classes."""
        parse = json_as(lambda page: [summary_of(entry) for entry in page["vocabularies"]])
        return self._ask(Send("GET", ROUTE), parse, timeout)

    def get(self, name: str, *, timeout: float | None = None) -> Vocabulary:
        """Get a vocabulary with its classes.

        Raises:
            UnknownVocabulary: no such vocabulary.
        """
        return self._ask(Send("GET", _path(name)), _with_tag, timeout)

    def put(
        self, name: str, classes: Classes, *, timeout: float | None = None, **options: Unpack[VocabularyOptions]
    ) -> Vocabulary:
        """Create or replace a vocabulary; options as in `VocabularyOptions`.

        Raises:
            TypeError: an unknown option; nothing was sent.
            PreconditionFailed: `if_match` or `create_only` does not hold.
            ReadOnly: the vocabulary is built in.
            NotAllowed: another key shares a vocabulary of this name.
            InvalidValue: the server refuses the list.
        """
        conditions = _conditions(options.get("if_match"))
        if options.get("create_only"):
            conditions["If-None-Match"] = "*"
        body = {"json": vocabulary_json(classes, options)}
        # Conditional writes are not idempotent: a retry after success fails its own condition.
        return self._ask(Send("PUT", _path(name), conditions, body, repeatable=not conditions), _with_tag, timeout)

    def delete(self, name: str, *, if_match: str | None = None, timeout: float | None = None) -> None:
        """Delete a vocabulary.

        Raises:
            PreconditionFailed: `if_match` does not hold.
            ReadOnly: the vocabulary is built in.
            UnknownVocabulary: no such vocabulary.
        """
        request = Send("DELETE", _path(name), _conditions(if_match), repeatable=False)
        return self._ask(request, lambda _: None, timeout)


class AsyncVocabularies(Resource):
    """As `Vocabularies`, to await."""

    list = awaited(Vocabularies.list)
    get = awaited(Vocabularies.get)
    put = awaited(Vocabularies.put)
    delete = awaited(Vocabularies.delete)


def _path(name: str) -> str:
    return f"{ROUTE}/{quote(name, safe='')}"


def _conditions(if_match: str | None) -> dict[str, str]:
    return {} if if_match is None else {"If-Match": if_match}


def _with_tag(reply: httpx.Response) -> Vocabulary:
    etag = reply.headers.get("etag", "")
    return read(reply.content, lambda document: vocabulary_of(document, etag))
