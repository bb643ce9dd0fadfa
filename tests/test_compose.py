"""What docker compose makes of our files: the resolved configuration of every profile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_architecture import SHARED_WORDS

ROOT = Path(__file__).resolve().parent.parent
FILES = ("docker-compose.yml", "docker-compose.override.yml")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROFILES = {
    "cpu": {"gateway", "worker-1", "worker-2"},
    "gpu": {"gateway-gpu", "worker-gpu-0"},
    "gpu-2": {"worker-gpu-1"},
    "train": {"trainer"},
    "train-gpu": {"trainer-gpu"},
    "monitoring": {"prometheus", "grafana"},
    "load": {"load", "load-worker"},
}
GPU = {"worker-gpu-0", "worker-gpu-1", "trainer-gpu"}
EVERY = {"redis"}.union(*PROFILES.values())
GATEWAYS = ("gateway", "gateway-gpu")
WORKERS = ("worker-1", "worker-2", "worker-gpu-0", "worker-gpu-1")
SECRETS = {"REDIS_PASSWORD": "of-redis", "GRAFANA_PASSWORD": "of-grafana"}


def command() -> list[str]:
    plugin = (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    )
    return ["docker", "compose"] if plugin else ["docker-compose"]


def resolve(
    folder: Path, *files: str, profiles: str = ",".join(PROFILES), **environment: str
) -> subprocess.CompletedProcess[str]:
    """What `config` says, with no other variables than these; `folder` has the files, and an .env if one is wanted."""
    options = [part for name in files or FILES for part in ("-f", str(folder / name))]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [*command(), "--project-directory", str(folder), *options, "config"],
        cwd=folder,
        env=kept | {"COMPOSE_PROFILES": profiles} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that compose reads, without anybody's .env."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    return folder


@pytest.fixture(scope="module")
def services(checkout: Path) -> dict[str, Any]:
    """Of all profiles, resolved, by name."""
    outcome = resolve(checkout, **SECRETS)
    assert outcome.returncode == 0, outcome.stderr
    resolved: dict[str, Any] = yaml.safe_load(outcome.stdout)["services"]
    return resolved


def active(services: dict[str, Any], *profiles: str) -> set[str]:
    return {
        name
        for name, service in services.items()
        if not service.get("profiles") or set(service["profiles"]) & set(profiles)
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_starts_its_own_services_and_redis(profile: str, services: dict[str, Any]) -> None:
    assert active(services, profile) == PROFILES[profile] | {"redis"}
    for name in active(services, profile):  # compose refuses a dependency that is not active
        assert set(services[name].get("depends_on", ())) <= active(services, profile)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_container_may_do_no_more_than_it_needs(name: str, services: dict[str, Any]) -> None:
    service = services[name]

    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(re.match(r"/tmp:size=\d+[mg]", entry) for entry in service["tmpfs"])
    assert service["mem_limit"]
    assert float(service["cpus"]) > 0
    assert service["pids_limit"] > 0


def test_ports_are_of_this_machine_alone_unless_said_otherwise(services: dict[str, Any], checkout: Path) -> None:
    opened = yaml.safe_load(resolve(checkout, BIND="0.0.0.0", **SECRETS).stdout)["services"]

    for name in sorted(EVERY):
        assert {_address(port) for port in services[name].get("ports", ())} <= {"127.0.0.1"}
        everybody = "0.0.0.0" if name in GATEWAYS else "127.0.0.1"
        assert {_address(port) for port in opened[name].get("ports", ())} <= {everybody}


def _address(port: Any) -> str:
    """Compose writes a port as text or as a mapping, by its version."""
    return str(port["host_ip"] if isinstance(port, dict) else port.split(":")[0])


def test_only_gateways_pages_and_the_load_test_have_ports(services: dict[str, Any]) -> None:
    assert {name for name in services if services[name].get("ports")} == {*GATEWAYS, "prometheus", "grafana", "load"}


def test_each_gpu_worker_has_a_gpu_of_its_own_and_insists_on_it(services: dict[str, Any]) -> None:
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in services.items()
        if "reservations" in service.get("deploy", {}).get("resources", {})
    }

    assert set(reserved) == GPU
    for name, (device,) in reserved.items():
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"]), name
    ids = [reserved[name][0]["device_ids"] for name in ("worker-gpu-0", "worker-gpu-1")]
    assert ids == [["0"], ["1"]]
    for name in WORKERS:
        assert services[name]["environment"]["LEXISEG_DEVICE"] == ("cuda" if name in GPU else "cpu")


def test_one_build_argument_chooses_cpu_or_cuda(services: dict[str, Any]) -> None:
    runtimes = {
        name: service["build"]["args"].get("RUNTIME") for name, service in services.items() if "build" in service
    }

    assert {name for name, runtime in runtimes.items() if runtime == "cuda"} == GPU
    assert {name for name, runtime in runtimes.items() if runtime == "cpu"} == {"worker-1", "worker-2", "trainer"}
    images = {name: services[name]["image"] for name in runtimes}
    assert len({images[name] for name in GPU} & {images[name] for name in runtimes if name not in GPU}) == 0


def test_an_empty_argument_of_pip_stays_empty(services: dict[str, Any]) -> None:
    assert services["worker-1"]["build"]["args"]["PIP_ARGS"] == ""


def test_torch_comes_from_its_own_index_and_everything_else_by_hash() -> None:
    (installs,) = re.findall(r"case \"\$RUNTIME\" in.*?text-tower\.txt", DOCKERFILE, re.DOTALL)
    steps = re.findall(r"pip install (.*?)(?=&&|$)", installs.replace("\\\n", " "), re.DOTALL)

    assert "--extra-index-url" not in DOCKERFILE
    torch, *others = steps
    assert '--index-url "$index" --no-deps' in torch
    assert "torchvision==" in torch
    assert all("--no-deps --require-hashes" in step for step in others)
    assert "index=$TORCH_INDEX/cpu " in installs
    assert "index=$TORCH_INDEX/cu130 " in installs


def test_the_gateway_is_told_of_every_worker_of_its_profile(services: dict[str, Any]) -> None:
    named = {name: services[name]["environment"]["LEXISEG_WORKERS"] for name in GATEWAYS}

    assert named["gateway"] == "dns:///worker-1:50061,dns:///worker-2:50061"
    assert named["gateway-gpu"] == "dns:///worker-gpu-0:50061"


@pytest.mark.parametrize("name", [*GATEWAYS, "worker-1", "worker-2", "worker-gpu-0"])
def test_the_start_is_gated_by_health(name: str, services: dict[str, Any]) -> None:
    workers = {"gateway": {"worker-1", "worker-2"}, "gateway-gpu": {"worker-gpu-0"}}.get(name, set())
    waits = {other: rule["condition"] for other, rule in services[name]["depends_on"].items()}

    assert waits == dict.fromkeys({"redis"} | workers, "service_healthy")


@pytest.mark.parametrize(("name", "minutes"), [("worker-1", 5), ("worker-gpu-0", 15)])
def test_a_first_start_may_take_its_time(name: str, minutes: int, services: dict[str, Any]) -> None:
    assert services[name]["healthcheck"]["start_period"] in (f"{minutes}m", f"{minutes}m0s")


@pytest.mark.parametrize("name", WORKERS)
def test_what_takes_long_to_make_outlives_a_worker(name: str, services: dict[str, Any]) -> None:
    mounted = str(services[name]["volumes"])

    assert "/models" in mounted
    assert "/var/cache/lexiseg" in mounted
    assert services[name]["environment"]["LEXISEG_CACHE_DIR"] == "/var/cache/lexiseg"
    assert "install -d -o 10001 -g 10001 /models /var/cache/lexiseg" in DOCKERFILE


def test_settings_of_the_shell_and_of_the_file_are_handed_on(checkout: Path) -> None:
    (checkout / ".env").write_text("LEXISEG_QUEUE_LIMIT=7\nLEXISEG_API_KEYS=of the file\n")
    try:
        outcome = resolve(checkout, LEXISEG_API_KEYS="of the shell", LEXISEG_MODEL="tiny,tcl", **SECRETS)
    finally:
        (checkout / ".env").unlink()
    services = yaml.safe_load(outcome.stdout)["services"]

    for name in GATEWAYS:
        assert services[name]["environment"]["LEXISEG_API_KEYS"] == "of the shell"
        assert services[name]["environment"].get("LEXISEG_RATE_LIMIT") is None
    for name in WORKERS:
        assert services[name]["environment"]["LEXISEG_QUEUE_LIMIT"] == "7"
        assert services[name]["environment"]["LEXISEG_MODEL"] == "tiny,tcl"
        assert "LEXISEG_API_KEYS" not in services[name]["environment"]


def test_redis_asks_for_a_password_that_stands_in_no_command_line(services: dict[str, Any]) -> None:
    redis = services["redis"]

    assert SECRETS["REDIS_PASSWORD"] not in str(redis["command"])
    assert "requirepass" in str(redis["command"])
    assert redis["user"] == "999:999"
    for name in (*GATEWAYS, *WORKERS):
        assert services[name]["environment"]["LEXISEG_REDIS_URL"] == "redis://:of-redis@redis:6379/0"


def test_redis_evicts_only_what_has_a_time_to_live_and_keeps_the_rest_on_disk(services: dict[str, Any]) -> None:
    command = str(services["redis"]["command"])

    assert "--maxmemory-policy volatile-lru" in command
    assert "--maxmemory 512mb" in command
    assert "--appendonly yes" in command


def test_without_a_password_nothing_starts_and_the_way_to_one_is_named(checkout: Path) -> None:
    refused = resolve(checkout, GRAFANA_PASSWORD="one")

    assert refused.returncode != 0
    assert "deploy/compose/env.sh" in refused.stderr


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_env_sh_writes_an_env_that_starts_a_profile(profile: str, checkout: Path, tmp_path: Path) -> None:
    here = tmp_path / "checkout"
    shutil.copytree(checkout, here)
    for _ in range(2):  # the second time it changes nothing
        subprocess.run([here / "deploy/compose/env.sh", profile], check=True, capture_output=True)
        written = (here / ".env").read_text()
    lines = dict(line.split("=", 1) for line in written.splitlines() if line and not line.startswith("#"))
    outcome = resolve(here, profiles="")

    assert lines["COMPOSE_PROFILES"] == profile
    for name in ("REDIS_PASSWORD", "GRAFANA_PASSWORD", "LEXISEG_WORKER_TOKEN"):
        assert re.fullmatch(r"[0-9a-f]{48}", lines[name])
    assert len({lines[name] for name in lines if name.endswith(("PASSWORD", "TOKEN"))}) == 3
    assert (here / ".env").stat().st_mode & 0o077 == 0
    assert outcome.returncode == 0, outcome.stderr
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("file", ["deploy/compose/tls.yml", "deploy/compose/host-network.yml"])
def test_the_files_on_top_fit(file: str, checkout: Path) -> None:
    beside = () if "host" in file else ("docker-compose.override.yml",)
    outcome = resolve(checkout, "docker-compose.yml", *beside, file, profiles="cpu", **SECRETS)
    assert outcome.returncode == 0, outcome.stderr
    services = yaml.safe_load(outcome.stdout)["services"]

    for name in ("gateway", "worker-1", "worker-2"):
        if "tls" in file:
            side = name.partition("-")[0]
            assert services[name]["environment"]["LEXISEG_WORKER_TLS_KEY"] == f"/tls/{side}-key.pem"
            assert f"{side}-key.pem" in str(services[name]["volumes"])
            assert "ca-key.pem" not in str(services[name]["volumes"])
        else:
            assert services[name]["network_mode"] == "host"
            assert "of-redis" in services[name]["environment"]["LEXISEG_REDIS_URL"]


def test_prometheus_knows_every_gateway_and_worker() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "monitoring" / "prometheus.yml").read_text())
    names = {job["job_name"]: job.get("dns_sd_configs", [{}])[0].get("names") for job in config["scrape_configs"]}

    assert names["lexiseg-gateway"] == list(GATEWAYS)
    assert names["lexiseg-worker"] == list(WORKERS)


def test_what_is_trained_lies_where_the_workers_look_for_models_and_is_written_by_their_user(
    services: dict[str, Any],
) -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))

    assert "LEXISEG_MODELS_DIR=/models" in stages["worker"]
    assert "/train/runs" in str(services["trainer"]["volumes"])
    assert "WORKDIR /train\n" in stages["trainer"]  # recipes write to runs/
    for stage in ("gateway", "worker", "trainer", "load"):
        assert "\nUSER 10001:10001\n" in stages[stage]
        for label in ("title", "description", "licenses", "version", "revision"):
            assert f"org.opencontainers.image.{label}=" in stages[stage]
    assert services["trainer"]["build"]["target"] == "trainer"
    assert services["trainer"]["restart"] == "on-failure"


@pytest.mark.parametrize("image", ["redis", "prometheus", "grafana"])
def test_images_of_others_are_named_by_digest(image: str, services: dict[str, Any]) -> None:
    assert re.search(r"@sha256:[0-9a-f]{64}$", services[image]["image"])
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert services["gateway"]["build"]["args"]["BASE_IMAGE"] in DOCKERFILE


def test_the_gateways_image_has_what_the_service_takes_of_the_models_package() -> None:
    stage = DOCKERFILE.split(" AS gateway-build\n")[1].split("\nFROM ")[0]

    copied = set(re.findall(r"model/lexiseg_model/\S+\.py", stage))

    modules = {Path("model", *module.split(".")).with_suffix(".py") for module in SHARED_WORDS}
    packages = {module.with_name("__init__.py") for module in modules}
    assert {str(path) for path in modules | packages} == copied
