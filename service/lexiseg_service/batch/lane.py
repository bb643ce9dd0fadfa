"""How a batch is worked on, everywhere: ask about pictures in order, some at a time, and commit their lines in parts.

    pictures that are taken -> ask -> line: an answer or a problem -> part -> commit

A picture is done, has a problem, or is not yet looked at: one that is in no committed part is retried by the
next worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from lexiseg_client.calling.mapping import map_async

Line = dict[str, Any]  # of results: number, image, and either answer or problem
P = TypeVar("P")  # a picture
L = TypeVar("L")  # its line
P_contra = TypeVar("P_contra", contravariant=True)
L_contra = TypeVar("L_contra", contravariant=True)


class Preempted(Exception):
    """Other work goes first: the pictures that are left are not asked now."""


class Part(Protocol[P_contra, L_contra]):
    """Lines on their way to a ledger. It is empty again once they are committed."""

    def add(self, picture: P_contra, line: L_contra) -> None:
        """Take a line."""
        ...

    @property
    def is_due(self) -> bool:
        """Whether the lines are to be committed now."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether there are no lines."""
        ...

    async def commit(self) -> bool:
        """Write the lines, and record that their pictures are settled; False: nobody wants them any more."""
        ...


async def work(
    pictures: Sequence[P],
    ask: Callable[[P], Awaitable[L]],
    part: Part[P, L],
    width: int = 1,
    ends: Callable[[int], bool] = lambda _: False,
) -> bool:
    """Ask about pictures, `width` at a time, and commit their lines in order; True once every picture is settled.

    `ask` may raise Preempted; `ends` gets the number of pictures that were asked.
    """
    n_begun = 0
    try:
        async with aclosing(map_async(ask, pictures, width)) as lines:
            while n_begun < len(pictures) and not ends(n_begun):
                part.add(pictures[n_begun], await anext(lines))
                n_begun += 1
                if part.is_due and not await part.commit():
                    return False
    except Preempted:
        pass
    if not part.is_empty and not await part.commit():
        return False
    return n_begun == len(pictures)
