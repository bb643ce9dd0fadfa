"""docker-compose.yml says what the design asks for, and its parts know each other by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
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
