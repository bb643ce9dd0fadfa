"""Every setting, in one place: `LEXISEG_*` in the environment, the same names in lower case on the command line.

The options of the commands are generated from these fields (`commands/options.py`): each names the commands that read
it, its group in their help, and its help text. What nobody changes is a constant, what follows from other settings is
derived from them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from lexiseg_model.pictures import MIN_SIDE
from lexiseg_model.runtimes import Runtime
from lexiseg_service.entry_points import ADAPTERS as ADAPTER_POINTS
from lexiseg_service.entry_points import entry_points_of

STREAM_IDLE_SECONDS = 60.0  # without a message, then a video stream is ended
BODY_SECONDS = 60.0  # for the whole body of a request, or one gRPC message
FIRST_MESSAGE_SECONDS = 10.0  # for the first message of a gRPC call, where its length is not known before
BYTES_PER_POINT = 96  # in JSON, with all digits
PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})"
REDIS_URL = re.compile(rf"(?:[^/]*@)?(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\]]*)(?::{PORT})?(?:/[0-9]*)?")  # after ://
PREFIX = "lexiseg_"  # of variables of the environment
EVERY = "*"  # in a list: every name, origin or public host
# Adapters of the default: their routes are only below /adapters/NAME, and reach what POST /segment reaches.
SAFE_ADAPTERS = ("hugging-face", "roboflow", "x-anylabeling")
AUTO = "auto"  # as many workers as cores and memory are enough for
WORKER = re.compile(rf"(?:dns:///)?(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):{PORT}")
HOST = re.compile(r"\*|[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
NAMED_HOST = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9._-]+")  # a name without a letter is an address in other words
MAX_GRPC_BYTES = 2**31 - 1  # gRPC's own limit
BESIDE_IMAGE = 4 * 2**20  # bytes of a gRPC message
MAX_SECONDS = 1e7  # longer ones overflow in the system's calls
BUCKET = r"(?:s3a?|gs|gcs|az|abfs)://[^/\s]"
PLACE = re.compile(rf"/|{BUCKET}")
HEADER = re.compile(r"[!-~]([ -~]*[!-~])?")  # what one can carry
HTTP_URL = re.compile(r"https?://[^\s?#@]+")
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/?#@\s,*]+")

Command = Literal[
    "serve",
    "gateway",
    "worker",
    "segment",
    "teach",
    "video",
    "bulk",
    "eval",
    "benchmark",  # of eval
    "compare",
    "export",
    "models",
    "vocabularies",
    "heads",
    "trainer",
]
CLIENTS: tuple[Command, ...] = ("segment", "teach", "video")  # may use a server instead
FILES: tuple[Command, ...] = (*CLIENTS, "bulk")  # work on local files
GATEWAYS: tuple[Command, ...] = ("serve", "gateway")
WORKERS: tuple[Command, ...] = ("serve", "worker")
SERVERS: tuple[Command, ...] = ("serve", "gateway", "worker")
ENGINES: tuple[Command, ...] = (*WORKERS, *FILES)
ASKERS: tuple[Command, ...] = (*GATEWAYS, *FILES)  # validate requests
LOADERS: tuple[Command, ...] = (*ENGINES, "eval", "benchmark", "compare")
RUNNERS: tuple[Command, ...] = (*ENGINES, "eval", "compare")  # by any runtime; published figures are of torch
NAMERS: tuple[Command, ...] = (*SERVERS, *FILES, "eval", "benchmark", "export")  # name a model


class Read(NamedTuple):
    """The commands that read a setting, and its group in their help."""

    commands: tuple[Command, ...]
    group: str


class Folder(NamedTuple):
    """Commands that begin only where a setting names a folder: one that can be read, or one that can be made."""

    commands: tuple[Command, ...]
    is_made: bool = False


LIMITS = Read(ASKERS, "Limits of a request")
LISTENING, MODELS, ADMISSION = "Listening", "Models and work", "Access"
STORAGE, WATCHING, ADAPTERS, JOBS = "What is kept", "Watching", "Adapters", "Jobs"


def _parts(value: Any) -> Any:
    return tuple(part for each in value.split(",") if (part := each.strip())) if isinstance(value, str) else value


def _checked(is_right: Callable[[Any], object], expected: str) -> AfterValidator:
    """Refuses other values; None is right."""

    def check(value: Any) -> Any:
        if value is not None and not is_right(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _each(is_right: Callable[[str], object], expected: str) -> AfterValidator:
    return _checked(lambda entries: all(map(is_right, entries)), expected)


def _is_network(entry: str) -> bool:
    try:
        return bool(ip_network(entry))
    except ValueError:
        return False


def _are_workers(entries: tuple[str, ...]) -> bool:
    is_count = len(entries) == 1 and (entries[0].isdecimal() or entries[0] == AUTO)
    return is_count or all(map(WORKER.fullmatch, entries))


def _are_installed(names: tuple[str, ...]) -> tuple[str, ...]:
    installed = entry_points_of(ADAPTER_POINTS) if names else {}
    for name in names:
        if name not in installed:
            raise ValueError(f"installed adapters, between commas ({', '.join(installed)}); there is no {name!r}")
    return names


Listed = Annotated[tuple[str, ...], BeforeValidator(_parts)]  # between commas
IS_HEADER = _checked(lambda secret: HEADER.fullmatch(secret.get_secret_value()), "printable ASCII")
IS_HTTP = _checked(HTTP_URL.fullmatch, "http(s)://HOST[:PORT][/PATH]")
IS_PLACE = _checked(lambda place: "://" not in place or re.match(BUCKET, place), "a folder or s3://BUCKET/PREFIX")
ARE_WORKERS = _checked(_are_workers, "HOST:PORT or dns:///HOST:PORT, between commas")
ARE_HOSTS = _each(HOST.fullmatch, "* or names like segments.example.org, without a port")
# Browsers compare the whole string: a path or a trailing slash would never match.
ARE_ORIGINS = _each(ORIGIN.fullmatch, "* or origins like https://example.org, without a path")
ARE_NETWORKS = _each(_is_network, "networks like 10.0.0.0/8, between commas")
ARE_PLACES = _each(PLACE.match, "absolute folders and s3:// prefixes, between commas")
ARE_NETWORKS_OR_HOSTS = _each(
    lambda entry: entry == EVERY or _is_network(entry) or NAMED_HOST.fullmatch(entry),
    "*, networks like 10.0.0.0/8 or hosts like minio.lan, without a port",
)


class FromEnvironment(BaseModel):
    """Fields by `LEXISEG_NAME` of the environment, in any case; keywords go first."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True, protected_namespaces=())

    def __init__(self, **values: Any) -> None:
        names = ((name.lower(), value) for name, value in os.environ.items())
        read = {name.removeprefix(PREFIX): value for name, value in names if name.startswith(PREFIX)}
        super().__init__(**read | values)


class Limits(FromEnvironment):
    """Limits of one request; beyond them the answer is 413 or 422 and names the limit."""

    max_image_bytes: Annotated[int, LIMITS] = Field(
        20 * 2**20, gt=0, le=MAX_GRPC_BYTES - BESIDE_IMAGE, description="bytes of an image file"
    )
    max_pixels: Annotated[int, LIMITS] = Field(40_000_000, gt=0, description="pixels of an image")
    max_classes: Annotated[int, LIMITS] = Field(2048, gt=0, description="classes of a request or a vocabulary")
    max_text_length: Annotated[int, LIMITS] = Field(128, gt=0, description="characters of one name or synonym")
    max_prompts: Annotated[int, LIMITS] = Field(256, gt=0, description="prompts of a request")
    min_side: Annotated[int, LIMITS] = Field(MIN_SIDE, gt=0, description="least pixels of a side of an image")
    max_synonyms: Annotated[int, LIMITS] = Field(8, ge=0, description="synonyms of a class")
    max_grpc_bytes: Annotated[int | None, LIMITS] = Field(
        None, gt=0, le=MAX_GRPC_BYTES, description="bytes of one gRPC message; default: 4 MiB more than an image file"
    )
    max_text_bytes: Annotated[int | None, LIMITS] = Field(
        None, gt=0, description="UTF-8 bytes of all names and synonyms; default: most classes times the longest name"
    )
    # Constants.
    max_prompt_points: ClassVar[int] = 32
    max_examples: ClassVar[int] = 64  # and negatives, of a request or a vocabulary
    max_example_images: ClassVar[int] = 16  # other images with examples of a request or a vocabulary
    max_example_bytes: ClassVar[int] = 2 * 2**20  # of the pictures of examples in a vocabulary

    @cached_property
    def grpc_bytes(self) -> int:
        """Bytes of one gRPC message, either way: an image file and the question, or an answer."""
        return self.max_grpc_bytes or self.max_image_bytes + BESIDE_IMAGE

    @cached_property
    def text_bytes(self) -> int:
        return self.max_text_bytes or self.max_classes * self.max_text_length

    @cached_property
    def max_question_bytes(self) -> int:
        """Bytes of the JSON of a request without the image; words may be escaped."""
        return 4 * self.text_bytes + BYTES_PER_POINT * self.max_prompts * (self.max_prompt_points + 1)


class Settings(FromEnvironment):
    workers: Annotated[Listed, ARE_WORKERS, Read(GATEWAYS, LISTENING)] = Field(
        (), description="gateway: workers, HOST:PORT or dns:///HOST:PORT between commas; serve: how many, 1, or auto"
    )
    host: Annotated[str, Read(SERVERS, LISTENING)] = Field(
        "127.0.0.1", min_length=1, description="address to listen on"
    )
    http_port: Annotated[int, Read(GATEWAYS, LISTENING)] = Field(
        8000, ge=0, le=65535, description="port of REST; 0: any free one"
    )
    grpc_port: Annotated[int, Read(GATEWAYS, LISTENING)] = Field(
        50051, ge=0, le=65535, description="port of gRPC; 0: any free one"
    )
    worker_port: Annotated[int, Read(("worker",), LISTENING)] = Field(
        50061, ge=0, le=65535, description="port for gateways; 0: any free one"
    )
    metrics_port: Annotated[int, Read(("worker",), LISTENING)] = Field(
        8001, ge=0, le=65535, description="port of HTTP: /metrics, /livez, /readyz"
    )
    worker_token: Annotated[SecretStr | None, IS_HEADER, Read(("gateway", "worker"), LISTENING)] = Field(
        None,
        min_length=16,
        description="secret that gateways show and workers ask for; without it any gateway may ask",
    )
    worker_tls: Annotated[Path | None, Read(("gateway", "worker"), LISTENING)] = Field(
        None, description="folder of ca.crt, tls.crt and tls.key; with it, gateways and workers show certificates"
    )
    drain_seconds: Annotated[float, Read(SERVERS, LISTENING)] = Field(
        25.0, ge=0, le=MAX_SECONDS, description="seconds for requests in flight after SIGTERM"
    )

    model: Annotated[str, Read(NAMERS, MODELS)] = Field(
        "tiny", description="NAME or NAME@VERSION; to serve several, between commas, the first is the default"
    )
    phrases_model: Annotated[str | None, Read(GATEWAYS, MODELS)] = Field(
        None,
        description="NAME of the served model that gets classes with an attribute or relation, where none is named",
    )
    models_dir: Annotated[Path | None, Folder(WORKERS), Read((*LOADERS, "export", "models", "trainer"), MODELS)] = (
        Field(None, description="folder of model directories")
    )
    text_tower: Annotated[Path | None, Folder(WORKERS), Read((*LOADERS, "export"), MODELS)] = Field(
        None, description="folder of the text tower of `tiny`, where its package is not installed"
    )
    model_memory_bytes: Annotated[int | None, Read(WORKERS, MODELS)] = Field(
        None, ge=1, description="weights of all loaded models; default: no bound"
    )
    device: Annotated[str, Read(LOADERS, MODELS)] = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    runtime: Annotated[Runtime, Read(RUNNERS, MODELS)] = Field(
        "auto",
        description="runtime of the image pass: auto, torch, onnx, onnx-int8, openvino, tensorrt or torch-compile",
    )
    precision: Annotated[Literal["fast", "exact"], Read(ENGINES, MODELS)] = Field(
        "fast", description="fast: bfloat16 where the hardware has it; exact: float32"
    )

    max_batch: Annotated[int, Read(ENGINES, MODELS)] = Field(8, ge=1, description="tiles in one image pass on a GPU")
    queue_limit: Annotated[int, Read(ENGINES, MODELS)] = Field(
        64, ge=1, description="unanswered requests of one client, half as many again of all clients; more get 429"
    )
    deadline_seconds: Annotated[float, Read((*SERVERS, "video"), MODELS)] = Field(
        30.0, gt=0, le=MAX_SECONDS, description="seconds to answer a request"
    )

    api_keys_file: Annotated[Path | None, Read(GATEWAYS, ADMISSION)] = Field(
        None, description="lines of ID and SHA-256; with none, everybody may ask"
    )
    api_keys: Annotated[SecretStr | None, Read(GATEWAYS, ADMISSION)] = Field(
        None, description="the same lines, or between commas"
    )
    metrics_need_key: Annotated[bool, Read(GATEWAYS, ADMISSION)] = Field(
        False, description="/metrics asks for an API key too"
    )
    rate_limit: Annotated[float | None, Read(GATEWAYS, ADMISSION)] = Field(
        None, gt=0, le=1e6, description="requests a second of one key or address; after a pause one second's at once"
    )
    concurrency_limit: Annotated[int | None, Read(GATEWAYS, ADMISSION)] = Field(
        None, ge=1, description="requests at a time of one key or address"
    )
    max_bytes_in_flight: Annotated[int, Read(GATEWAYS, ADMISSION)] = Field(
        512 * 2**20,
        ge=1,
        description="bytes of requests and answers held at a time; half as many more of images by URL",
    )
    url_fetch: Annotated[bool, Read(GATEWAYS, ADMISSION)] = Field(
        False, description="takes images by URL from public HTTPS hosts, as * in LEXISEG_URL_NETWORKS does"
    )
    url_networks: Annotated[Listed, ARE_NETWORKS_OR_HOSTS, Read(GATEWAYS, ADMISSION)] = Field(
        (),
        description="whose images are taken by URL: networks and hosts like 10.0.0.0/8,minio.lan, over http, too; "
        "* is every public host over https",
    )
    cors_origins: Annotated[Listed, ARE_ORIGINS, Read(GATEWAYS, ADMISSION)] = Field(
        (), description="origins of web pages that may ask, between commas; * is every one"
    )
    allowed_hosts: Annotated[Listed, ARE_HOSTS, Read(GATEWAYS, ADMISSION)] = Field(
        (), description="host names that are answered besides localhost and IP addresses, between commas; * is all"
    )
    adapters: Annotated[Listed, AfterValidator(_are_installed), Read(GATEWAYS, ADAPTERS)] = Field(
        SAFE_ADAPTERS, description="other tools' protocols that are answered, between commas; empty: none"
    )
    mcp_folder: Annotated[Path | None, Folder(GATEWAYS), Read(GATEWAYS, ADAPTERS)] = Field(
        None, description="folder whose pictures tools of MCP may read; default: none"
    )
    label_studio_url: Annotated[str | None, IS_HTTP, Read(GATEWAYS, ADAPTERS)] = Field(
        None, description="http(s)://HOST[:PORT][/PATH] of a Label Studio whose pictures are fetched"
    )
    label_studio_api_key: Annotated[SecretStr | None, IS_HEADER, Read(GATEWAYS, ADAPTERS)] = Field(
        None, description="access token of that Label Studio, to fetch them and to import the predictions of jobs"
    )
    api_key: Annotated[SecretStr | None, IS_HEADER, Read((*CLIENTS, "heads"), ADMISSION)] = Field(
        None, description="sent to `--server`"
    )

    jobs: Annotated[bool, Read(GATEWAYS, JOBS)] = Field(
        False, description="takes jobs of many pictures; their state is in Redis, or in the state directory"
    )
    job_files: Annotated[str | None, IS_PLACE, Folder(GATEWAYS, is_made=True), Read(GATEWAYS, JOBS)] = Field(
        None, description="folder or s3://BUCKET/PREFIX of archives and results; default: the state directory"
    )
    job_folders: Annotated[Listed, ARE_PLACES, Read(GATEWAYS, JOBS)] = Field(
        (), description="folders and s3:// prefixes whose pictures a job may name, between commas"
    )
    job_bytes_per_client: Annotated[int, Read(GATEWAYS, JOBS)] = Field(
        10 * 2**30,
        ge=1,
        description="bytes of archives and results kept of one key or address; as many of pictures of its trainings",
    )
    webhook_networks: Annotated[Listed, ARE_NETWORKS, Read(GATEWAYS, JOBS)] = Field(
        (), description="networks like 10.0.0.0/8 that webhooks may reach besides public hosts, between commas"
    )
    trainings: Annotated[Path | None, Folder(GATEWAYS, is_made=True), Read((*SERVERS, "trainer"), JOBS)] = Field(
        None, description="folder of trainings, shared by gateway and trainer; with it clients may tune models"
    )
    training_seconds: Annotated[float, Read(("serve", "trainer"), JOBS)] = Field(
        14_400.0, gt=0, le=MAX_SECONDS, description="seconds after which a training is ended"
    )
    training_memory_bytes: Annotated[int, Read(("serve", "trainer"), JOBS)] = Field(
        12 * 2**30, ge=2**30, description="memory of a training; one that needs more fails"
    )
    keep_days: Annotated[float, Read(GATEWAYS, JOBS)] = Field(
        7.0, gt=0, le=36_500, description="days that a job or a training is kept after its end, with its results"
    )

    feature_cache_bytes: Annotated[int, Read(ENGINES, STORAGE)] = Field(
        256 * 2**20, ge=0, description="features and images kept for a second question"
    )

    state_dir: Annotated[
        Path | None, Folder(GATEWAYS, is_made=True), Read((*ASKERS, "vocabularies", "heads"), STORAGE)
    ] = Field(None, description="folder that keeps users' vocabularies, heads and jobs")

    redis_url: Annotated[SecretStr | None, Read((*SERVERS, *FILES, "vocabularies", "heads"), STORAGE)] = Field(
        None, description="redis://, rediss:// or unix://; without it nothing is shared"
    )
    text_rows_key: Annotated[SecretStr | None, Read(ENGINES, STORAGE)] = Field(
        None, min_length=16, description="secret that signs texts' rows in Redis, the same for all workers"
    )

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Read((*SERVERS, "trainer"), WATCHING)] = Field(
        "info", description="debug, info, warning or error"
    )

    limits: Limits = Field(default_factory=Limits)
    # Constants.
    job_pictures: ClassVar[int] = 100_000  # of a job
    jobs_per_client: ClassVar[int] = 500  # that are kept

    @cached_property
    def default_model(self) -> str | None:
        """The first model of the setting; None if it is not set: then the worker's order decides."""
        return self.model.partition(",")[0].strip() if "model" in self.model_fields_set else None

    @property
    def archive_bytes(self) -> int:
        """Bytes of an archive that is sent with a job or a training."""
        return max(1, self.job_bytes_per_client // 10)

    @property
    def takes_urls(self) -> bool:
        """Whether images are taken by URL, of public hosts or of `url_networks`."""
        return self.fetches_publicly or bool(self.url_networks)

    @property
    def fetches_publicly(self) -> bool:
        """Whether images are taken from any public host, over https."""
        return self.url_fetch or EVERY in self.url_networks

    @property
    def own_hosts(self) -> tuple[str, ...]:
        """Networks and hosts of the operator's own that images are taken from, over http, too."""
        return tuple(entry for entry in self.url_networks if entry != EVERY)

    @property
    def model_names(self) -> list[str]:
        """The models of the setting, each NAME or NAME@VERSION; "" where one is left out between commas."""
        return [name.strip() for name in self.model.split(",")]

    @property
    def first_model(self) -> str:
        """The first model of the setting, or its default: the one of a command that computes in its own process."""
        return self.model.partition(",")[0].strip()  # not `default_model`, which a copy with another model has kept

    @field_validator("label_studio_api_key")
    @classmethod
    def _has_address(cls, token: SecretStr | None, fields: ValidationInfo) -> SecretStr | None:
        if token is not None and fields.data.get("label_studio_url", "") is None:
            raise ValueError("LEXISEG_LABEL_STUDIO_URL beside it")
        return token

    @field_validator("metrics_need_key")
    @classmethod
    def _has_keys(cls, value: bool, fields: ValidationInfo) -> bool:
        if value and not (fields.data.get("api_keys_file") or fields.data.get("api_keys")):
            raise ValueError("LEXISEG_API_KEYS or LEXISEG_API_KEYS_FILE beside it")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        """Check the URL; errors never quote it, because it may contain a password."""
        if url is None:
            return None
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("redis", "rediss", "unix") or (parts.scheme == "unix" and not parts.path):
            raise ValueError("redis://, rediss:// or unix://")
        # A `/` or `#` in a password would end the host part.
        if parts.scheme != "unix" and not (REDIS_URL.fullmatch(parts.netloc + parts.path) and not parts.fragment):
            raise ValueError("redis://:PASSWORD@HOST:PORT/NUMBER, its password with %XX for all but letters and digits")
        return url
