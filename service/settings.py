"""Every setting, in one place: `LEXISEG_*` in the environment, the same names in lower case on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Limits(BaseSettings):
    """What one request may ask for; beyond it the answer is 413 or 422 and names the limit."""

    model_config = SettingsConfigDict(env_prefix="LEXISEG_", frozen=True, extra="ignore")

    max_image_bytes: int = Field(20 * 2**20, gt=0)
    max_pixels: int = Field(40_000_000, gt=0)
    min_side: int = Field(16, gt=0)
    max_classes: int = Field(2048, gt=0)
    max_synonyms: int = Field(8, ge=0)
    max_text_length: int = Field(128, gt=0, description="characters of one name or synonym")
    max_text_bytes: int = Field(256 * 2**10, gt=0, description="UTF-8 bytes of all names and synonyms")


class Settings(BaseSettings):
    """How one process runs."""

    model_config = SettingsConfigDict(env_prefix="LEXISEG_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    http_port: int = Field(8000, ge=0, le=65535)
    model: str = "tiny"
    models_dir: Path | None = None
    device: str = "auto"
    max_batch: int = Field(8, ge=1, description="tiles in one image pass")
    queue_limit: int = Field(64, ge=1, description="requests accepted and not yet answered; more get 429")
    intake_threads: int = Field(2, ge=1)
    finish_threads: int = Field(2, ge=1)
    deadline_seconds: float = Field(30.0, gt=0)
    drain_seconds: float = Field(25.0, ge=0)
    text_cache_bytes: int = Field(64 * 2**20, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    limits: Limits = Field(default_factory=Limits)
