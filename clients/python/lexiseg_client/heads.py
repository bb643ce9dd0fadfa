"""`client.heads`: classes that a server is taught by reviewed pictures."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lexiseg_client.calling import heads as steps
from lexiseg_client.question.options import Classes
from lexiseg_client.question.reviewed import Head, Picture

if TYPE_CHECKING:
    from lexiseg_client.aio import AsyncClient
    from lexiseg_client.client import Client


class Heads:
    """Classes taught by reviewed pictures, by name: `client.heads`; for `segment(head=...)`."""

    def __init__(self, client: Client) -> None:
        self._run, self._calls = client._run, client._calls

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
            classes: names, or `Class` objects with synonyms alone.
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
        return self._run(steps.create(self._calls, name, classes, pictures, model, keep_days, timeout))

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
        return self._run(steps.put(self._calls, name, pictures, classes, remove, keep_days, timeout))

    def get(self, name: str, *, timeout: float | None = None) -> Head:
        """Get a head. Raises UnknownHead: no such head."""
        return self._run(steps.get(self._calls, name, timeout))

    def list(self, *, timeout: float | None = None) -> builtins.list[Head]:
        """List the heads of this API key, without the keys of their pictures."""
        return self._run(steps.list_all(self._calls, timeout))

    def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a head, and what is kept of its pictures. Raises UnknownHead: no such head."""
        self._run(steps.delete(self._calls, name, timeout))

    def export(self, name: str, *, timeout: float | None = None) -> bytes:
        """Return a head as a file, for `restore` here or elsewhere. Raises UnknownHead: no such head."""
        return self._run(steps.export(self._calls, name, timeout))

    def restore(self, name: str, content: bytes, *, timeout: float | None = None) -> Head:
        """Keep an exported head under a name, in place of the one that has it.

        Raises:
            InvalidValue: the content is no exported head.
            ModelChanged: the server's model has other weights.
        """
        return self._run(steps.restore(self._calls, name, content, timeout))


class AsyncHeads:
    """Classes taught by reviewed pictures, by name: `client.heads`."""

    def __init__(self, client: AsyncClient) -> None:
        self._run, self._calls = client._run, client._calls

    async def create(
        self,
        name: str,
        classes: Classes,
        pictures: Sequence[Picture],
        *,
        model: str | None = None,
        keep_days: float | None = None,
        timeout: float | None = None,
    ) -> Head:
        """See `Heads.create`."""
        return await self._run(steps.create(self._calls, name, classes, pictures, model, keep_days, timeout))

    async def put(
        self,
        name: str,
        pictures: Sequence[Picture] = (),
        *,
        classes: Classes | None = None,
        remove: Sequence[str] = (),
        keep_days: float | None = None,
        timeout: float | None = None,
    ) -> Head:
        """See `Heads.put`."""
        return await self._run(steps.put(self._calls, name, pictures, classes, remove, keep_days, timeout))

    async def get(self, name: str, *, timeout: float | None = None) -> Head:
        """See `Heads.get`."""
        return await self._run(steps.get(self._calls, name, timeout))

    async def list(self, *, timeout: float | None = None) -> builtins.list[Head]:
        """See `Heads.list`."""
        return await self._run(steps.list_all(self._calls, timeout))

    async def delete(self, name: str, *, timeout: float | None = None) -> None:
        """See `Heads.delete`."""
        await self._run(steps.delete(self._calls, name, timeout))

    async def export(self, name: str, *, timeout: float | None = None) -> bytes:
        """See `Heads.export`."""
        return await self._run(steps.export(self._calls, name, timeout))

    async def restore(self, name: str, content: bytes, *, timeout: float | None = None) -> Head:
        """See `Heads.restore`."""
        return await self._run(steps.restore(self._calls, name, content, timeout))
