"""What takes long is done beside the thread that wants it done, by one that may be nice.

A nice thread waits for a core longer than others, also while it holds the interpreter's lock, and with it waits
everybody: an event loop, too, that has a core. So threads that run Python are not nice. What they need much time of a
core for happens without the lock, and a nice thread does it for them: calls of the kernel on one that never takes the
lock (`library.go_aside`), other libraries on one that takes it for moments before and after.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Done = tuple[Any, BaseException | None]
_HERE = threading.local()


class _Beside:
    """A thread that does one thing after another for the one that made it, and ends with it."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Context, Callable[[], Any]] | None] = SimpleQueue()
        self._done: SimpleQueue[Done] = SimpleQueue()
        name = threading.current_thread().name
        threading.Thread(target=_serve, args=(self._asked, self._done), name=name, daemon=True).start()

    def __del__(self) -> None:
        self._asked.put(None)

    def do(self, work: Callable[[], T]) -> T:
        self._asked.put((copy_context(), work))
        returned, error = self._done.get()
        if error is not None:
            try:
                raise error
            finally:
                del error  # or it would hold this frame, which holds it
        result: T = returned
        return result


def _serve(asked: SimpleQueue[tuple[Context, Callable[[], Any]] | None], done: SimpleQueue[Done]) -> None:
    while (turn := asked.get()) is not None:
        done.put(_done(*turn))
        del turn  # nothing is kept alive by a thread that waits


def _done(context: Context, work: Callable[[], Any]) -> Done:
    try:
        return context.run(work), None
    except BaseException as error:
        return None, error


def go_aside(begin: Callable[[], object]) -> None:
    """What the calling thread hands over with `aside` is done by a thread of its own from now on, if it can have one.

    Args:
        begin: what that thread does first, as to become nice.
    """
    try:
        beside = _Beside()
    except RuntimeError:  # the system gives no more threads
        return
    beside.do(begin)
    _HERE.beside = beside


def aside(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What the function returns or raises: called by the thread beside this one, or here if there is none.

    The caller waits. It is worth it for what takes long without the interpreter's lock.
    """
    beside: _Beside | None = getattr(_HERE, "beside", None)
    return function(*args, **named) if beside is None else beside.do(partial(function, *args, **named))
