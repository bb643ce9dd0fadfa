"""docker-compose.yml says what the design asks for, and its parts know each other by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = ("gateway", "worker-1", "worker-2")


def test_the_gateway_is_told_of_every_worker() -> None:
    told = COMPOSE["services"]["gateway"]["environment"]["LEXISEG_WORKERS"].split(",")

    workers = [name for name in COMPOSE["services"] if name.startswith("worker")]
    assert told == [f"dns:///{name}:50061" for name in workers]
    assert len(workers) == 2


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_no_more_than_they_need(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"


def test_the_trainer_runs_only_when_asked_for_and_may_do_no_more_than_a_worker() -> None:
    trainer, worker = COMPOSE["services"]["trainer"], COMPOSE["services"]["worker-1"]

    assert trainer["profiles"] == ["train"]
    assert all("profiles" not in COMPOSE["services"][name] for name in (*OURS, "redis"))
    for word in ("read_only", "cap_drop", "security_opt", "tmpfs"):
        assert trainer[word] == worker[word]
    assert trainer["restart"] == "on-failure"
    assert trainer["shm_size"].endswith(":-8gb}")


def test_what_is_trained_lies_where_the_workers_look_for_models_and_is_written_by_their_user() -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))
    trainer, worker = COMPOSE["services"]["trainer"], COMPOSE["services"]["worker-1"]

    volume = dict(entry.split(":")[:2] for entry in worker["volumes"])["models"]
    assert f"LEXISEG_MODELS_DIR={volume}" in stages["worker"]
    assert trainer["volumes"][0] == "models:/train/runs"
    assert "WORKDIR /train\n" in stages["trainer"]  # recipes write to runs/
    for stage in ("worker", "trainer"):
        assert "\nUSER 10001:10001\n" in stages[stage]
    assert trainer["build"]["target"] == "trainer"


def test_gpus_are_reserved_in_a_file_of_their_own() -> None:
    reserved = yaml.safe_load((ROOT / "deploy" / "compose" / "gpu.yml").read_text())["services"]["trainer"]

    (device,) = reserved["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert not any("deploy" in service for service in COMPOSE["services"].values())


@pytest.mark.parametrize(
    ("name", "waits_for"), [("gateway", {"redis", "worker-1", "worker-2"}), ("worker-1", {"redis"})]
)
def test_the_start_is_gated_by_health(name: str, waits_for: set[str]) -> None:
    conditions = COMPOSE["services"][name]["depends_on"]

    assert conditions == {other: {"condition": "service_healthy"} for other in waits_for}


def test_redis_evicts_only_what_has_a_time_to_live_and_keeps_the_rest_on_disk() -> None:
    command = COMPOSE["services"]["redis"]["command"]

    assert "--maxmemory-policy volatile-lru" in command
    assert "--maxmemory " in command
    assert "--appendonly yes" in command


def test_ports_are_opened_apart_so_that_another_network_can_do_without() -> None:
    ports = yaml.safe_load((ROOT / "docker-compose.override.yml").read_text())["services"]["gateway"]["ports"]

    assert [port.rpartition(":")[2] for port in ports] == ["8000", "50051"]
    assert not any("ports" in service for service in COMPOSE["services"].values())
