"""The client for threads, and the driver that carries out the steps of its calls."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from lexiseg_client.address import Address, read_address
from lexiseg_client.calling.calls import Calls, Wire
from lexiseg_client.calling.mapping import OnError, Progress, checked, map_threads, progress_of
from lexiseg_client.calling.retries import Patience, Retry
from lexiseg_client.calling.steps import Call, Invoke, Send, Step, Wait
from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike
from lexiseg_client.models import Health, Model
from lexiseg_client.question.options import Background, Classes, Options, Unpack
from lexiseg_client.question.vocabulary import Vocabulary, VocabularySummary
from lexiseg_client.rest import RestWire, arguments, reply_of, translated
from lexiseg_client.segmentation import Segmentation
from lexiseg_client.video import FrameAnswer, StreamItem, StreamOptions

if TYPE_CHECKING:
    import grpc

    from lexiseg_client.rpc.threads import Connection
    from lexiseg_client.stubs import segmentation_pb2 as pb

TIMEOUT = 60.0  # seconds; a server's own deadline is half of it
T = TypeVar("T")


class Client:
    """One lexiseg server. Safe for many threads; to be closed, or used in a `with` statement.

    Args:
        url: like `http://localhost:8000` (REST) or `grpc://localhost:50051`, or `localhost:50051` for short; https and
            grpcs for TLS. Both protocols give the same answers; vocabularies are a matter of REST. None takes that of
            `LEXISEG_BASE_URL`, if there is one, else http://localhost:8000.
        api_key: sent with every request; None takes that of `LEXISEG_API_KEY`, if there is one.
        timeout: seconds that a call may take, with all its retries; each call can say otherwise. A call neither begins
            a try nor waits after that; a try in progress gets what is left for each of its reads and writes.
        retry: how patiently a busy or broken server is asked again.
        grpc_target: HOST:PORT of gRPC, for `stream`; None is port 50051 of the same host.
        http: an `httpx.Client` of your own, for proxies, certificates or connection limits; it stays yours to close.
        channel: a `grpc.Channel` of your own; it stays yours to close.

    Raises:
        ValueError: the address or the key cannot be one.
        MissingLibrary: the address is one of gRPC, which is not installed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        retry: Retry | None = None,
        grpc_target: str | None = None,
        http: httpx.Client | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        address = read_address(url, grpc_target, api_key)
        self._patience = Patience(retry or Retry())
        self._calls = Calls(wire_of(address, self._patience), self._patience, timeout)
        self._threads = Threads(address, http, channel)
        self._run = self._threads.run
        self.vocabularies = Vocabularies(self._threads, RestWire(self._patience), self._calls.until)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._threads.close()

    def segment(
        self,
        image: ImageLike,
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Segmentation:
        """One mask for each class that owns pixels of the image, or the masks that `prompts` show.

        Args:
            image: a path, bytes of an image file, pixels [H, W, 3] RGB, an image of Pillow, a URL, or an `ImageId`.
                The same image is sent once: later questions about it name it, and need no image pass on the server.
            classes: names, or `Class` objects with synonyms and thresholds; or `vocabulary` instead. With prompts there
                may be none: then their masks have no labels.
            timeout: seconds; None is the client's.
            options: see `Options`.

        Raises:
            TypeError, ValueError: an option, class or prompt cannot be one; nothing was sent.
            ProblemError: the server refuses; its kinds are in `lexiseg_client.errors`.
            Unreachable, TimedOut: it does not answer.
            UnusableImage, OSError: the image cannot be sent.
            ImageExpired: an `ImageId` that the server no longer knows; images of other forms are sent again by itself.
        """
        return self._run(self._calls.segment(image, classes, options, timeout))

    @overload
    def map(
        self,
        images: Iterable[ImageLike],
        classes: Classes | None = None,
        *,
        concurrency: int = 8,
        progress: bool | Progress | None = None,
        on_error: Literal["raise"] = "raise",
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Segmentation, None, None]: ...

    @overload
    def map(
        self,
        images: Iterable[ImageLike],
        classes: Classes | None = None,
        *,
        concurrency: int = 8,
        progress: bool | Progress | None = None,
        on_error: OnError,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Segmentation | LexisegError | OSError, None, None]: ...

    def map(
        self,
        images: Iterable[ImageLike],
        classes: Classes | None = None,
        *,
        concurrency: int = 8,
        progress: bool | Progress | None = None,
        on_error: OnError = "raise",
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Any, None, None]:
        """One question about many images, several of them under way: their answers in the order of the images.

        Args:
            images: as of `segment`; taken as they are needed, so that there may be any number of them.
            classes: as of `segment`.
            concurrency: how many are under way at most.
            progress: True writes a line on the standard error, None does where that is a terminal or a notebook; or a
                function that is called with the number of answers and that of images (None of what has no length).
            on_error: "raise" ends with the first image that fails; "return" gives its error in place of its answer, and
                goes on.
            timeout: seconds for each image; None is the client's.
            options: see `Options`.

        Returns:
            A `Segmentation` for each image, or an error with on_error="return". Nothing is sent before the first is
            asked for; leaving the loop leaves out the rest.

        Raises:
            TypeError, ValueError: an option cannot be one.
            LexisegError, OSError: as `segment`, unless on_error="return".
        """
        checked(concurrency, on_error)

        def ask(image: ImageLike) -> Segmentation:
            return self.segment(image, classes, timeout=timeout, **options)

        return map_threads(ask, images, concurrency, progress_of(progress), on_error)

    def models(self, *, timeout: float | None = None) -> list[Model]:
        """The models that a question may name."""
        return self._run(self._calls.models(timeout))

    def model(self, name: str, *, timeout: float | None = None) -> Model:
        """One model, NAME or NAME@VERSION.

        Raises:
            UnknownModel: there is none of that name.
        """
        return self._run(self._calls.model(name, timeout))

    def health(self, *, timeout: float | None = None) -> Health:
        """Whether the server answers questions; asks once, and an unhealthy server is an answer."""
        return self._run(self._calls.health(timeout))

    def wait_until_ready(self, *, timeout: float | None = None) -> Health:
        """Waits until the server answers questions.

        Raises:
            TimedOut: it does not in time.
        """
        return self._run(self._calls.wait_until_ready(timeout))

    def stream(
        self,
        frames: Iterable[StreamItem],
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[StreamOptions],
    ) -> Generator[FrameAnswer, None, None]:
        """Answers about the frames of a video, in their order, over gRPC.

        Args:
            frames: images as of `segment` (no URLs and ids), or `Frame` objects with a timestamp and an id. A
                `NewQuestion` among them changes what is asked. They are taken in a thread of their own, so that the
                next frame is fetched while the last ones are answered.
            classes: as of `segment`.
            timeout: seconds for the connection; None is the client's. The stream itself may last for ever.
            options: see `StreamOptions`.

        Returns:
            One answer for each frame. To leave early, leave the loop, or `close()` what this returns.

        Raises:
            ProblemError: the server refuses the question; a frame that it cannot answer has an `error` instead.
            Unreachable: it cannot be reached, or the connection breaks.
            MissingLibrary: gRPC is not installed.
            Exception: whatever the frames raise.
        """
        from lexiseg_client.rpc.calls import GrpcWire  # gRPC is optional
        from lexiseg_client.rpc.messages import config

        first, reach = config(classes, options), GrpcWire(self._patience).reach(self._calls.seconds(timeout))
        return self._threads.stream(first, frames, reach)


def wire_of(address: Address, patience: Patience) -> Wire:
    """The protocol of an address.

    Raises:
        MissingLibrary: gRPC's, which is not installed.
    """
    if address.protocol == "rest":
        return RestWire(patience)
    from lexiseg_client.rpc.calls import GrpcWire  # gRPC is optional

    return GrpcWire(patience)


class Vocabularies:
    """The named class lists of a server: `client.vocabularies`."""

    def __init__(self, threads: Threads, wire: RestWire, until: Callable[[float | None], float]) -> None:
        self._run = threads.run
        self._wire = wire
        self._until = until

    def list(self, *, timeout: float | None = None) -> builtins.list[VocabularySummary]:
        """Built-in ones and users', without their classes."""
        return self._run(self._wire.vocabularies(self._until(timeout)))

    def get(self, name: str, *, timeout: float | None = None) -> Vocabulary:
        """One with its classes.

        Raises:
            UnknownVocabulary: there is none of that name.
        """
        return self._run(self._wire.vocabulary(name, self._until(timeout)))

    def refresh(self, known: Vocabulary, *, timeout: float | None = None) -> Vocabulary:
        """What the server has now; `known` itself, without a transfer, if nothing has changed."""
        return self._run(self._wire.refresh_vocabulary(known, self._until(timeout)))

    def put(
        self,
        name: str,
        classes: Classes,
        *,
        background: bool | Background = True,
        source: str | None = None,
        shared: bool | None = None,
        if_match: str | None = None,
        create_only: bool = False,
        timeout: float | None = None,
    ) -> Vocabulary:
        """Creates or replaces one.

        Args:
            background: what holds when a question says nothing of it.
            source: where the list comes from, for its readers.
            shared: with API keys, for every key or for this one alone; None: as it was, and new ones for this alone.
            if_match: an `etag`: goes on only if the list is still that one.
            create_only: never replaces.

        Raises:
            PreconditionFailed: a condition does not hold.
            ReadOnly: it is built in.
            NotAllowed: another key shares one of that name.
            InvalidValue: the server takes no such list.
        """
        call = self._wire.put_vocabulary(
            name,
            classes,
            background=background,
            source=source,
            shared=shared,
            if_match=if_match,
            create_only=create_only,
            until=self._until(timeout),
        )
        return self._run(call)

    def delete(self, name: str, *, if_match: str | None = None, timeout: float | None = None) -> None:
        """Deletes one.

        Raises:
            PreconditionFailed: `if_match` does not hold.
            ReadOnly: it is built in.
            UnknownVocabulary: there is none of that name.
        """
        self._run(self._wire.delete_vocabulary(name, if_match, self._until(timeout)))


class Threads:
    """Connections to one server. `http` and `channel` of the user's own stay the user's to close."""

    def __init__(self, address: Address, http: httpx.Client | None, channel: grpc.Channel | None) -> None:
        self._address = address
        self._http = http or httpx.Client()
        self._own_http = http is None
        self._channel = channel
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes what is open."""
        if self._own_http:
            self._http.close()
        if self._connection is not None:
            self._connection.close()

    def run(self, call: Call[T]) -> T:
        """A call's result."""
        try:
            step = next(call)
            while True:
                try:
                    outcome = self._carry_out(step)
                except Exception as error:
                    step = call.throw(error)
                else:
                    step = call.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            call.close()

    def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Send):
            keywords = arguments(self._address, step)
            with translated(self._address.url):
                return reply_of(self._http.request(**keywords))
        if isinstance(step, Invoke):
            return self._rpc().invoke(step)
        if isinstance(step, Wait):
            return time.sleep(step.seconds)
        return step.task()

    def _rpc(self) -> Connection:
        from lexiseg_client.rpc.threads import Connection  # gRPC is optional

        with self._lock:
            if self._connection is None:
                self._connection = Connection(self._address, self._channel)
            return self._connection

    def stream(
        self, first: pb.SegmentVideoRequest, items: Iterable[StreamItem], reach: Call[None]
    ) -> Generator[FrameAnswer, None, None]:
        """Answers in the order of the frames; `reach` is taken first. Ends and errors as of `Connection.stream`."""
        self.run(reach)
        yield from self._rpc().stream(first, items)
