"""One connection of HTTP on a clock: uvicorn's own waits for ever for a head, a body, or whoever takes no answer.

    head -> body -> answering -> idle -> head ...

Only what the client is to do is timed, and only while we listen: heads as a whole, bodies as a whole and by their pace,
answers by the pace at which they are taken. Whoever is late hears why, where it can still hear, and is cut off.

An answer that ends a connection reaches its client: what is still sent of the request is read before the end, and who
has closed the own half alone is answered.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from lexiseg_service.errors import MalformedRequest, NotReady, ServiceError, TooSlow
from lexiseg_service.gateway.rest.http1.answered import Answered
from lexiseg_service.gateway.rest.http1.connections import Connections
from lexiseg_service.gateway.rest.http1.one_protocol import OneProtocol
from lexiseg_service.gateway.rest.http1.system_buffer import bound_unsent, unconfirmed
from lexiseg_service.gateway.rest.problem import response

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn._types import ASGI3Application

MOST_HEAD_BYTES = 64 * 2**10
EACH_FIELD = 32  # of them, beside its name and value, as HTTP/2 counts (RFC 9113, 6.5.2): it takes Python as long
MOST_BESIDE_BODY = 64 * 2**10  # bytes of sizes and extensions of chunks, and of trailers: so many, and
MOST_BESIDE_EACH = 1  # so many to each byte of the body; chunks of one byte have five, and cost as much as large ones
MOST_AWAITED = 48 * 2**10  # bytes of a body: so many fit before a client must wait, and are not too many at once
LEAST_AWAITED = 2**10  # what is shorter comes at once
MOST_AHEAD = 16  # requests that a client sends before the first of them is answered
SMALL_BURST, SMALL_RATE = 32, 32.0  # requests that are hardly any work: so many at once, and in each second
PACE_SECONDS = 5.0  # between two looks at how much has come or gone
LAST_SECONDS = 1.0  # for the client to take a refusal, while what it still sends is thrown away
LATEST_RETURN = 60  # seconds for which a connection is kept for a client that was told to come later
GOING_DOWN = "the service is going down; send the request again"
STILL_THERE = b"HTTP/1.1 100 Continue\r\n\r\n"  # any client of HTTP/1.1 passes over it (RFC 9110, 15.2)


class HeadTooLarge(ServiceError):
    """No request yet, so no route promises it."""

    status, type, title = 431, "too-large", "The head of the request is too large"


class TimedProtocol(HttpToolsProtocol):
    """Uvicorn's fast protocol with clocks and bounds. `look` is called now and then, with the seconds in between."""

    def __init__(self, connections: Connections, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.timeout_keep_alive = connections.patience.keep_alive
        self.parser: OneProtocol = OneProtocol(self)  # type: ignore[assignment]  # as far as it is used
        self._all = connections
        self._patience = connections.patience
        self._answering: RequestResponseCycle | None = None  # others may stand in line behind it
        self._head_bytes = 0
        self._header_bytes = 0  # of the head's fields, as far as they are known
        self._body_bytes = 0
        self._beside_body = 0
        self._begun = False  # a message, in what has just come
        self._announced = 0  # bytes of its body, where the head tells and the client is not slow
        self._awaited = 1  # bytes, from which on the system tells of them
        self._in_head = True
        self._in_body = False
        self._refused = False
        self._last = False  # answered, and to be closed when its request has been read
        self._said_all = False  # by the client, which may still listen
        self._seconds = 0.0  # of this head or body
        self._pace_seconds = 0.0
        self._came = 0  # bytes, since the pace was looked at
        self._small_until = 0.0  # when the small things that it asked for are forgotten, by the event loop's clock
        self._answer_seconds = 0.0  # since the pace of what is taken was looked at
        self._taken = 0  # bytes of answers, when their pace was looked at

    @property
    def idle(self) -> bool:
        """Between two requests."""
        return self.timeout_keep_alive_task is not None and not self._busy

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._for_answers = Answered(transport, self._close_when_read)
        bound_unsent(transport.get_extra_info("socket"))
        if not self._all.add(self, self.client and self.client[0]):
            transport.abort()
        elif (refusing := self._all.crowd(self, self.app)) is not None:
            self.app = refusing

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        self._abandon()
        self._for_answers.end = self.transport.close  # else we would hold ourselves, until a full collection
        self.parser.close()
        self._unset_keepalive_if_required()  # uvicorn keeps it, and with it all of this, where the client has reset
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Whether it goes on: a client that has said all may wait for an answer, or be gone.

        To who is gone a word of ours comes back as an error, which `look` sees. HTTP/1.0 has no such word (RFC 9110,
        15.2): its clients, netcat and old proxies among them, are answered, as if they had stayed.
        """
        whole = not self._in_body and not self._head_bytes and not self._refused
        if not whole or not self._busy:
            return False
        assert self._answering is not None
        understood = self.cycle.scope["http_version"] == "1.1"
        if understood and not self._said_all and not self._answering.response_started:
            self.transport.write(STILL_THERE)
        self._said_all = True
        return True

    def on_message_begin(self) -> None:
        if self._last:
            raise ValueError("the request before was the last")
        self._in_head = True
        self._header_bytes = self._body_bytes = self._beside_body = 0
        self._begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes after a body is no part of its head: a server before us has not looked at it.
        if self._in_head:
            self._header_bytes += EACH_FIELD + len(name) + len(value)
            if self._header_bytes > MOST_HEAD_BYTES:
                raise ValueError("the head is too large")  # ends the parsing, and with it the connection
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MOST_AHEAD:
            raise ValueError("too many requests ahead")  # ends the parsing, and with it the connection
        if self._header_bytes + len(self.url) > MOST_HEAD_BYTES:  # that came with its end
            raise ValueError("the head is too large")
        self._in_head, self._in_body = False, True
        self._head_bytes = 0
        self._begin()
        self._announced = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", self._for_answers)
        if self._all.leaving:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._came += len(body)
        self._body_bytes += len(body)
        cycle = self.cycle
        if not self._announced:
            super().on_body(body)
        elif not cycle.response_complete:
            # The rest will come: to wake the application for each piece takes longer than all it does with them.
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
                cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._begin()
        super().on_message_complete()
        if self._last:
            self.transport.close()

    def on_response_complete(self) -> None:
        assert self._answering is not None
        if self._for_answers.is_refusal or self._answering.scope["method"] != "POST":
            self._small_until = max(self._small_until, self.loop.time()) + 1 / SMALL_RATE
        if not self._in_body:
            self._begin()
        # Who was told when to come again finds the connection still there.
        self.timeout_keep_alive = self._patience.keep_alive + min(self._told(), LATEST_RETURN)
        super().on_response_complete()
        if self.pipeline:  # the next is read when these are answered
            self.flow.pause_reading()
        elif self._said_all and not self._busy:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        in_body, before, self._begun = self._in_body, self._body_bytes, False
        super().data_received(data)
        if in_body and self._in_body and not self._begun:
            self._beside_body += len(data) - (self._body_bytes - before)
            if self._beside_body > MOST_BESIDE_BODY + MOST_BESIDE_EACH * self._body_bytes:
                self._end(HeadTooLarge(f"more than {MOST_BESIDE_BODY:,} bytes beside a body in chunks"))
        left = self._announced - self._body_bytes if self._in_body else 0
        awaited = self._awaited if left >= self._awaited > 1 else min(left, MOST_AWAITED)
        self._await(awaited if awaited > LEAST_AWAITED else 1)
        # Only after parsing is it known whether the head goes on; what came with its end is body.
        if self._in_head and not self._refused and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(HeadTooLarge(f"more than {MOST_HEAD_BYTES:,} bytes without an end"))

    def send_400_response(self, msg: str) -> None:
        """Of bytes that are no HTTP, or not to be parsed on."""
        if self._header_bytes + len(self.url) > MOST_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"more than {MOST_HEAD_BYTES:,} bytes"))
        else:
            self._refuse(MalformedRequest("this is not HTTP/1.1, or not as it should be"))

    def look(self, seconds: float) -> None:
        """So much time has passed; ends what took too long."""
        if self._refused:
            return
        if self._said_all and self._is_gone():
            self.transport.abort()
            return
        self._announced = 0
        self._await(1)  # what a slow client sends is heard of as it comes: it counts for its pace
        self._watch_answer(seconds)
        if self._in_body and not self.flow.read_paused:  # else it waits for us
            self._watch_body(seconds)
        elif not self._in_body and not self._busy and not self.idle:
            self._seconds += seconds
            if self._seconds > self._patience.head:
                self._late(f"the head of the request did not come within {self._patience.head:g} seconds", "head")

    def shutdown(self) -> None:
        """The process goes down: what is answered is answered, anything else ends."""
        if self._refused:
            self.transport.close()  # what it was told goes out first
        elif self._in_body and self._busy and not self.cycle.response_started:
            self._all.ended("drain")
            self._refuse(NotReady(GOING_DOWN))
        else:
            super().shutdown()

    def leave(self) -> None:
        """What is being answered is the last here, unless its head is out and says otherwise."""
        if self._busy and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def give_up(self) -> None:
        """There is no more time for an answer that has not begun: its client is told to come again."""
        if self._busy and not self.cycle.response_started:
            self._all.ended("drain")
            self._refuse(NotReady(GOING_DOWN))

    def close_idle(self) -> None:
        """To make room for another."""
        self._all.ended("idle")
        self.transport.close()

    def _close_when_read(self) -> None:
        """Closed with bytes unread, a connection is reset, and the answer lost with it."""
        if self._in_body and not self._busy and not self.transport.is_closing():
            self._last = True
        else:
            self.transport.close()

    def _is_gone(self) -> bool:
        """Whether the client has refused what was sent to it."""
        own: socket.socket = self.transport.get_extra_info("socket")
        return own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def _await(self, n: int) -> None:
        """Has the system tell of bytes when there are so many, or when no more will come: to be woken for each packet
        of a body takes longer than to read it."""
        if n == self._awaited or self.transport.is_closing():
            return
        self._awaited = n
        with suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, n)

    def _told(self) -> int:
        """Seconds of the last answer's `Retry-After`."""
        seconds = self.cycle.scope["state"].get("retry_after", b"")
        return int(seconds) if seconds.isdigit() else 0

    def _begin(self) -> None:
        self._seconds = self._pace_seconds = 0.0
        self._came = 0

    def _watch_body(self, seconds: float) -> None:
        patience = self._patience
        self._seconds += seconds
        self._pace_seconds += seconds
        if self._seconds > patience.body:
            self._late(f"the body did not come within {patience.body:g} seconds", "body")
        elif self._pace_seconds >= min(PACE_SECONDS, patience.body):
            pace = self._came / self._pace_seconds
            self._pace_seconds, self._came = 0.0, 0
            if pace < patience.pace:
                self._late(f"the body came at {pace:,.0f} bytes a second, {patience.pace:,} are the least", "body")

    def _watch_answer(self, seconds: float) -> None:
        left = self.transport.get_write_buffer_size()
        if not left or self._in_body:
            self._answer_seconds = 0.0
            return
        taken = self._for_answers.written - left - unconfirmed(self.transport.get_extra_info("socket"))
        if not self._answer_seconds:
            self._taken = taken
        self._answer_seconds += seconds
        if self._answer_seconds > self._patience.head:
            if taken - self._taken < max(1, self._patience.pace * self._patience.head):
                self._all.ended("answer")
                self.transport.abort()
            self._answer_seconds, self._taken = 0.0, taken

    def _late(self, why: str, what: str) -> None:
        self._all.ended(what)
        self._end(TooSlow(why))

    def _end(self, error: ServiceError) -> None:
        # Silence is answered with silence: it may be a browser's spare connection. So is a body that has its answer.
        if not self._head_bytes and not self._busy:
            self.transport.close()
        else:
            self._refuse(error)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        if self._small_until > self.loop.time() + SMALL_BURST / SMALL_RATE:
            app = cast("ASGI3Application", self._all.in_turn(self, cast("ASGIApp", app)))
        cycle.scope["state"]["answering"] = self.tasks  # all that this process answers now
        super()._start_asgi_task(cycle, app)

    def _abandon(self) -> None:
        """Nobody takes the answers that are still to come: uvicorn itself tells the last request alone."""
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _refuse(self, error: ServiceError) -> None:
        """Says why, once, reads no more, and closes when the client has taken it, or soon."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._await(1)
        if self._answering is not None and self._answering is not self.cycle:  # it would be taken for another's answer
            self._abandon()
            self.transport.abort()
            return
        if self._busy:
            self.cycle.scope["state"]["ended"] = error.status  # for the log
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        answer = response(error, None)
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        line = STATUS_LINE[error.status]
        self.transport.write(b"".join([line, head, b"connection: close\r\n\r\n", bytes(answer.body)]))
        # Closed with bytes unread, the connection would be reset, and the answer lost with it.
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)
