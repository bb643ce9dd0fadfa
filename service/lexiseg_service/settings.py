"""Every setting, in one place: `LEXISEG_*` in the environment, the same names in lower case on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BYTES_OF_A_POINT = 96  # in JSON, with all the digits that a number may have
WORKER = re.compile(r"(?:dns:///)?(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


class Limits(BaseSettings):
    """What one request may ask for; beyond it the answer is 413 or 422 and names the limit."""

    model_config = SettingsConfigDict(env_prefix="LEXISEG_", frozen=True, extra="ignore")

    max_image_bytes: int = Field(20 * 2**20, gt=0)
    max_pixels: int = Field(40_000_000, gt=0)
    min_side: int = Field(16, gt=0)
    max_classes: int = Field(2048, gt=0)
    max_synonyms: int = Field(8, ge=0)
    max_text_length: int = Field(128, gt=0, description="characters of one name or synonym")
    max_grpc_bytes: int = Field(24 * 2**20, gt=0, description="of one gRPC message, either way")
    max_text_bytes: int = Field(256 * 2**10, gt=0, description="UTF-8 bytes of all names and synonyms")
    max_prompts: int = Field(256, gt=0)
    max_prompt_points: int = Field(32, gt=0, description="points of one prompt")

    @property
    def max_question_bytes(self) -> int:
        """Of the JSON of everything but the image: words may be escaped."""
        return 4 * self.max_text_bytes + BYTES_OF_A_POINT * self.max_prompts * (self.max_prompt_points + 1)


class Settings(BaseSettings):
    """How one process runs."""

    model_config = SettingsConfigDict(env_prefix="LEXISEG_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    http_port: int = Field(8000, ge=0, le=65535)
    grpc_port: int = Field(50051, ge=0, le=65535)
    worker_port: int = Field(50061, ge=0, le=65535, description="where `lexiseg worker` listens for gateways")
    metrics_port: int = Field(8001, ge=0, le=65535, description="HTTP of `lexiseg worker`: metrics, livez, readyz")
    workers: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="of `lexiseg gateway`: HOST:PORT or dns:///HOST:PORT, between commas"
    )
    grpc_reflection: bool = Field(True, description="gRPC clients may ask for the interface itself")
    grpc_connection_age_seconds: float = Field(1800.0, gt=0, description="then a client is asked to connect anew")
    grpc_connection_grace_seconds: float = Field(300.0, gt=0, description="for calls on a connection of that age")
    model: str = Field("tiny", description="NAME or NAME@VERSION; several between commas, the first is the default")
    models_file: Path | None = Field(None, description="YAML list of models instead: name, preload, device")
    models_dir: Path | None = None
    model_memory_bytes: int | None = Field(None, ge=1, description="weights of all loaded models; default: no bound")
    precision: Literal["fast", "exact"] = Field("fast", description="fast: bfloat16 where the hardware has it")
    state_dir: Path | None = Field(None, description="what outlives the process: users' vocabularies")
    device: str = "auto"
    runtime: Literal["auto", "torch", "onnx", "onnx-int8"] = Field("auto", description="who does the image pass")
    cache_dir: Path | None = Field(None, description="what can be made again; default: lexiseg in the user's cache")
    max_batch: int = Field(8, ge=1, description="tiles in one image pass")
    queue_limit: int = Field(64, ge=1, description="requests accepted and not yet answered; more get 429")
    intake_threads: int = Field(2, ge=1)
    finish_threads: int = Field(2, ge=1, description="of each model")
    deadline_seconds: float = Field(30.0, gt=0)
    max_streams: int = Field(64, ge=1, description="video streams of one worker at a time; more get 429")
    stream_idle_seconds: float = Field(60.0, gt=0, description="without a message, then a video stream is ended")
    drain_seconds: float = Field(25.0, ge=0)
    text_cache_bytes: int = Field(64 * 2**20, ge=0)
    text_cache_ttl_seconds: int = Field(30 * 86400, ge=1, description="how long Redis keeps a text's row")
    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss:// or unix://; without it nothing is shared"
    )
    redis_timeout_seconds: float = Field(
        0.2, gt=0, le=0.2, description="a connect, an answer; a whole call: 1.25 of it"
    )
    redis_breaker_failures: int = Field(3, ge=1, description="in a row, until Redis is left alone")
    redis_breaker_seconds: float = Field(15.0, gt=0, description="how long it is, before it is tried again")
    feature_cache_bytes: int = Field(256 * 2**20, ge=0, description="features and images kept for a second question")
    max_vocabularies: int = Field(256, ge=0, description="of users; built-in ones do not count")
    api_keys_file: Path | None = Field(None, description="lines of ID and SHA-256; with none, everybody may ask")
    api_keys: SecretStr | None = Field(None, description="the same lines, or parts between commas")
    metrics_need_key: bool = Field(False, description="/metrics asks for an API key too")
    rate_limit: float | None = Field(None, gt=0, le=1e6, description="requests a second of one key or address")
    rate_burst: int | None = Field(None, ge=1, description="requests at once after a pause; default: one second's")
    concurrency_limit: int | None = Field(None, ge=1, description="requests at a time of one key or address")
    url_fetch: bool = Field(False, description="takes images by URL, from public HTTPS hosts")
    api_key: SecretStr | None = Field(None, description="what `segment --server` shows the server")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="web pages that may ask; * is every one")
    otel_endpoint: str | None = Field(None, description="OpenTelemetry collector, OTLP over HTTP; needs its SDK")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    limits: Limits = Field(default_factory=Limits)

    @property
    def default_model(self) -> str | None:
        """The model that was named, the first of several; None where none was: then the worker's order decides."""
        return self.model.partition(",")[0].strip() if "model" in self.model_fields_set else None

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            parts = urlsplit(given.get_secret_value())
            _ = parts.port  # raises when it is none
            if parts.scheme not in ("redis", "rediss", "unix"):
                raise ValueError("redis://, rediss:// or unix://")  # the value may hold a password
        return given

    @field_validator("cors_origins", "workers", mode="before")
    @classmethod
    def _between_commas(cls, given: Any) -> Any:
        return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given

    @field_validator("workers")
    @classmethod
    def _are_addresses(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for address in given:
            if not WORKER.fullmatch(address):
                raise ValueError("HOST:PORT or dns:///HOST:PORT, between commas")
        return given

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for origin in given:
            # A browser compares the whole string: a path or a slash at the end would never match.
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s,*]+", origin):
                raise ValueError("* or origins like https://example.org, without a path")
        return given
