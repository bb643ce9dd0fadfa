"""`Client`: the synchronous, thread-safe client, which executes the steps of its calls."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import httpx

from lexiseg_client.calling.calls import TIMEOUT, Calls
from lexiseg_client.calling.mapping import (
    OF_SENDING,
    Images,
    MapOptions,
    MapPlan,
    OnError,
    check_several,
    map_plan,
    map_threads,
)
from lexiseg_client.calling.steps import Call, Invoke, Retry, Send, Step, Wait
from lexiseg_client.errors import ClosedClient, LexisegError
from lexiseg_client.folders import RESOLVED, LabelledFolder, Writer, resolve_names, write_all
from lexiseg_client.heads import Heads
from lexiseg_client.images import ImageLike, pictures_in
from lexiseg_client.jobs import Jobs
from lexiseg_client.question import Classes, Options, Unpack, question_json
from lexiseg_client.rest import Connecting, Health, Model, arguments, translate_errors
from lexiseg_client.video import FrameAnswer, NewQuestion, StreamItem, StreamOptions
from lexiseg_client.vocabularies import Vocabularies
from lexiseg_labels.segmentation import Segmentation

if TYPE_CHECKING:
    import grpc

    from lexiseg_client.rpc.connections import Connection
    from lexiseg_client.stubs import segmentation_pb2 as pb

T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
OPENING = threading.Lock()  # held while connections are made


class ConnectedClient(Generic[H]):
    """A server and the connections to it, which each process and each event loop opens for itself."""

    _library: type[H]
    _http: H
    _connection: Any = None  # of gRPC
    _place: object = None  # the process or the event loop of the connections; None: there are none yet
    _is_closed = False

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT,
        retry: Retry | None = None,
        grpc_target: str | None = None,
        http: H | None = None,
        channel: grpc.Channel | grpc.aio.Channel | None = None,
    ) -> None:
        self._calls = Calls(url, grpc_target, api_key, timeout, retry)
        if not isinstance(http, self._library | None):
            raise TypeError(f"http: expected httpx.{self._library.__name__}, got {type(http).__name__}")
        self._callers_http: H | None = http
        self._channel: Any = channel

    def __getstate__(self) -> dict[str, object]:
        """All but the connections. Raises TypeError: the caller brought some."""
        if self._callers_http is not None or self._channel is not None:
            raise TypeError("a client with `http` or `channel` cannot be pickled: make it in the process that uses it")
        return {name: value for name, value in vars(self).items() if name not in ("_http", "_connection", "_place")}

    def _enter(self, place: object) -> None:
        """Open connections of this place: two processes on one read each other's answers. Raises ClosedClient."""
        if self._is_closed:
            raise ClosedClient("the client is closed; make another one")
        if place == self._place:
            return
        with OPENING:
            if place != self._place:  # no other thread was faster
                self._http, self._connection = self._callers_http or self._library(), None
                self._place = place


class Client(ConnectedClient[httpx.Client]):
    """Synchronous client of one lexiseg server. Thread-safe; close it, or use it in a `with` statement.

    It may be pickled, with its key, and used after a fork: each process connects anew.

    Args:
        url: `http://localhost:8000` (REST), `grpc://localhost:50051` or `localhost:50051` (gRPC); https and grpcs for
            TLS. Answers are the same over both; vocabularies and jobs need REST. None: `LEXISEG_BASE_URL` if set, else
            http://localhost:8000.
        api_key: sent with every request; None: `LEXISEG_API_KEY` if set.
        timeout: seconds for a call including its retries; each call can override it. No attempt or wait begins later;
            each read and write of an attempt gets the time that remains.
        retry: how often and how long to retry when the server is busy or unreachable.
        grpc_target: HOST:PORT for `stream`; None: the port that the server says, on the same host.
        http: your own `httpx.Client`, for proxies, certificates or connection limits; you close it.
        channel: your own `grpc.Channel`; you close it.

    Raises:
        TypeError, ValueError: an invalid address, key or timeout, or another library's `http`.
        MissingLibrary: a gRPC address, and gRPC is not installed.
    """

    _library = httpx.Client
    _connection: Connection | None
    vocabularies = cached_property(Vocabularies)
    heads = cached_property(Heads)
    jobs = cached_property(Jobs)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that this client opened."""
        self._is_closed = True
        if self._callers_http is None and self._place == os.getpid():
            self._http.close()
        if self._connection is not None:
            self._connection.close()

    def segment(
        self,
        image: ImageLike,
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Segmentation:
        """Segment an image: one mask for each class found, or the masks of `prompts`.

        Args:
            image: a path, bytes of an image file, pixels [H, W, 3] RGB, a Pillow image, a URL, or an answer about the
                image or its `image_id`. An image is uploaded once: later calls refer to it by id and skip the server's
                image pass.
            classes: names, or `Class` objects with synonyms and thresholds; or use `vocabulary`. Optional with prompts,
                with masks that then have no labels.
            timeout: seconds; None: the client's.
            options: see `Options`.

        Raises:
            TypeError, ValueError: an invalid option, class or prompt; nothing was sent.
            ProblemError: the server refuses the request; subclasses in `lexiseg_client.errors`.
            Unreachable, TimedOut: no answer.
            UnusableImage, OSError: the image cannot be sent.
            ImageExpired: the server no longer has the image of this id; other images are uploaded again automatically.
        """
        return self._run(self._calls.segment(image, classes, options, timeout))

    @overload
    def map(
        self,
        images: Images,
        classes: Classes | None = None,
        *,
        on_error: Literal["raise"] = "raise",
        **options: Unpack[MapOptions],
    ) -> Generator[Segmentation, None, None]: ...

    @overload
    def map(
        self,
        images: Images,
        classes: Classes | None = None,
        *,
        on_error: OnError,
        **options: Unpack[MapOptions],
    ) -> Generator[Segmentation | LexisegError | OSError, None, None]: ...

    def map(
        self,
        images: Images,
        classes: Classes | None = None,
        *,
        on_error: OnError = "raise",
        **options: Unpack[MapOptions],
    ) -> Generator[Any, None, None]:
        """Segment many images concurrently; answers come in the order of the images.

        Args:
            images: as for `segment`; any iterable, read lazily, or a folder of pictures, found by suffix, in the
                folders below it, too.
            classes: as for `segment`.
            on_error: "raise" stops at the first image that fails; "return" yields its error and continues.
            options: see `MapOptions`.

        Returns:
            A lazy generator: a `Segmentation` for each image, or an error with on_error="return". Leaving the loop
            skips the remaining images.

        Raises:
            TypeError, ValueError: an invalid option.
            LexisegError, OSError: as `segment`, unless on_error="return".
            UnusableImage: a folder without pictures.
        """
        return self._mapped(map_plan(images, on_error, options), classes)

    def _mapped(self, plan: MapPlan, classes: Classes | None) -> Generator[Any, None, None]:
        return map_threads(
            lambda image: self._run(self._calls.outcome(image, classes, plan)), plan.images, plan.concurrency, plan.step
        )

    def label_folder(
        self,
        folder: str | os.PathLike[str],
        classes: Classes | None = None,
        *,
        to: str = "coco",
        out: str | os.PathLike[str] | None = None,
        **options: Unpack[MapOptions],
    ) -> LabelledFolder:
        """Label the pictures of a folder and its subfolders, and write a data set that names them.

        The same call goes on where an earlier one ended: it asks about what is not done, or has changed since. A
        vocabulary is taken as it is when the call begins; pictures after a change of the head or the weights fail.

        Args:
            folder: pictures are found by their suffixes.
            classes: as for `segment`; or use `vocabulary` or `head`.
            to: a format of labels, as coco, yolo or labelme; an error names all of them.
            out: the data set's folder; None: next to `folder`, as FOLDER-coco. Where it holds answers to another
                question these stay: the set is in OUT-2, as the result's `out` says.
            options: see `MapOptions`; `task="instance"` separates objects of one class.

        Raises:
            TypeError, ValueError: an invalid option, class or `to`.
            UnusableImage: the folder has no pictures.
            LexisegError, OSError: every picture failed, or the server cannot be asked.
        """
        place = None if out is None else Path(out)
        pictures = pictures_in(Path(folder), place)
        fields = question_json(classes, {name: each for name, each in options.items() if name not in OF_SENDING})
        own = [entry["name"] if isinstance(entry, dict) else entry for entry in fields.get("classes", ())]
        labels, question = resolve_names(self, own, fields)
        writer = Writer(to, Path(folder), place, labels, question)
        to_do = writer.not_done(pictures)
        resolved = MapOptions(**{**options, **{name: question.get(name) for name in RESOLVED}})  # type: ignore[typeddict-item]
        plan = map_plan(to_do, "return", resolved, before=len(pictures) - len(to_do))
        with closing(self._mapped(plan, question.get("classes"))) as answers:
            return write_all(writer, zip(to_do, answers, strict=True))

    def models(self, *, timeout: float | None = None) -> list[Model]:
        """List the server's models."""
        return self._run(self._calls.transport.models(self._calls.deadline(timeout)))

    def model(self, name: str, *, timeout: float | None = None) -> Model:
        """Get one model by NAME or NAME@VERSION. Raises UnknownModel: no such model."""
        return self._run(self._calls.transport.model(name, self._calls.deadline(timeout)))

    def health(self, *, timeout: float | None = None) -> Health:
        """Check once whether the server is alive and ready; an unready server does not raise."""
        return self._run(self._calls.health(timeout))

    def wait_until_ready(self, *, timeout: float | None = None) -> Health:
        """Wait until the server is ready. Raises TimedOut: it is not in time."""
        return self._run(self._calls.wait_until_ready(timeout))

    def stream(
        self,
        frames: Iterable[StreamItem],
        classes: Classes | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[StreamOptions],
    ) -> Generator[FrameAnswer, None, None]:
        """Segment the frames of a video over gRPC; answers come in frame order.

        Args:
            frames: images as for `segment` (no URLs or ids), or `Frame` objects with a timestamp and an id. A
                `NewQuestion` among them changes classes and options. A background thread reads them ahead.
            classes: as for `segment`.
            timeout: seconds to connect; None: the client's. The stream itself has no time limit.
            options: see `StreamOptions`.

        Returns:
            A generator with one answer for each frame. To stop early, leave the loop or `close()` the generator.

        Raises:
            ProblemError: the server refuses the stream; a single failed frame has an `error` in its answer instead.
            Unreachable: no server, or the connection broke.
            MissingLibrary: gRPC is not installed.
            Exception: raised by `frames`.
        """
        check_several(frames, "frames: expected several")
        connect = self._calls.connect(timeout, self._channel is not None)
        from lexiseg_client.rpc.messages import stream_config  # gRPC is optional

        return self._answers(connect, stream_config(NewQuestion(classes, **options)), frames)

    def _answers(
        self, connect: Call[None], first: pb.SegmentVideoRequest, items: Iterable[StreamItem]
    ) -> Generator[FrameAnswer, None, None]:
        self._run(connect)
        yield from self._rpc().stream(first, items)

    def _run(self, call: Call[T]) -> T:
        """Execute a call's steps and return its result. Raises ClosedClient."""
        self._enter(os.getpid())
        try:
            step = next(call)
            while True:
                try:
                    outcome = self._execute(step)
                except Exception as error:
                    step = call.throw(error)
                else:
                    step = call.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            call.close()

    def _execute(self, step: Step) -> Any:
        if isinstance(step, Send):
            keywords, connecting = arguments(self._calls.address, step), Connecting()
            with translate_errors(self._calls.address.url, connecting):
                reply = self._http.request(**keywords, extensions={"trace": connecting.trace})
                return connecting.of_server(reply, self._calls.address.url)
        if isinstance(step, Invoke):
            return self._rpc().invoke(step)
        if isinstance(step, Wait):
            return time.sleep(step.seconds)
        return step.task()

    def _rpc(self) -> Connection:
        from lexiseg_client.rpc.connections import Connection  # gRPC is optional

        with OPENING:
            if self._connection is None:
                self._connection = Connection(self._calls.address, self._channel)
            return self._connection
