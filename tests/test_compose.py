"""docker-compose.yml and the files that add to it, as docker compose resolves them."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from lexiseg_service import healthcheck
from lexiseg_service.commands.options import refuse_unknown
from lexiseg_service.settings import Settings
from tests.command import ended
from tests.http_server import Quiet, serving
from tests.integration import edge
from tests.requirements.package_names import project_of
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.test_architecture import SHARED_WORDS
from tests.waiting import SOON

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = "docker-compose.yml"
# What each file adds to docker-compose.yml.
ADDED = {
    "gpu": set[str](), "train": {"trainer", "trainer-gpu"}, "monitoring": {"prometheus", "grafana", "redis-exporter"},
    "load": {"load", "load-worker"}, "tls": set[str](), "jobs": set[str](),
    "trainings": {"tuner"},
}  # fmt: skip
PLAIN = {"edge", "gateway", "worker", "redis"}
EVERY = PLAIN.union(*ADDED.values())
GPU = {"worker", "trainer-gpu"}


def command() -> list[str]:
    plugin = (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    )
    return ["docker", "compose"] if plugin else ["docker-compose"]


def resolve(folder: Path, *added: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`config` of docker-compose.yml and the files `added`, with no other variables than `environment` and an .env."""
    files = [COMPOSE, *(f"deploy/compose/{name}.yml" for name in added)]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    words = [*command(), *(part for file in files for part in ("-f", file)), "config"]
    return ended(words, 120, cwd=folder, env=kept | {"COMPOSE_PROFILES": "train"} | environment)


def services_of(folder: Path, *added: str, **environment: str) -> dict[str, Any]:
    outcome = resolve(folder, *added, **environment)
    assert outcome.returncode == 0, outcome.stderr
    resolved: dict[str, Any] = yaml.safe_load(outcome.stdout)["services"]
    return resolved


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone's files that compose reads."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / COMPOSE, folder)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    return folder


@pytest.fixture(scope="module")
def plain(checkout: Path) -> dict[str, Any]:
    return services_of(checkout)


@pytest.fixture(scope="module")
def services(checkout: Path) -> dict[str, Any]:
    """Of docker-compose.yml and all files, by name."""
    return services_of(checkout, *ADDED)


def test_a_fresh_clone_starts_without_a_script_a_profile_or_a_password(checkout: Path) -> None:
    outcome = resolve(checkout, COMPOSE_PROFILES="")

    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    assert set(yaml.safe_load(outcome.stdout)["services"]) == PLAIN


@pytest.mark.parametrize("file", ADDED)
def test_a_file_adds_its_own_services(file: str, checkout: Path) -> None:
    assert set(services_of(checkout, file)) == PLAIN | ADDED[file]


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


def test_ports_are_of_this_machine_alone_unless_bind_is_set(services: dict[str, Any], checkout: Path) -> None:
    opened = services_of(checkout, *ADDED, BIND="0.0.0.0")

    assert {name for name in services if services[name].get("ports")} == {"edge", "prometheus", "grafana", "load"}
    for name in sorted(EVERY):
        assert {_address(port) for port in services[name].get("ports", ())} <= {"127.0.0.1"}
        address = "0.0.0.0" if name == "edge" else "127.0.0.1"
        assert {_address(port) for port in opened[name].get("ports", ())} <= {address}


def _address(port: Any) -> str:
    """Compose writes a port as text or as a mapping, by its version."""
    return str(port["host_ip"] if isinstance(port, dict) else port.split(":")[0])


PUT = ("PUT", "/v1/vocabularies/mine", {"classes": ["sky"]})
ERASE = ("DELETE", "/v1/data", None)


@pytest.mark.parametrize("added", ["", "segments.example,labels.example"])
def test_no_page_reaches_it_under_a_name_of_its_own(added: str, checkout: Path, tmp_path: Path) -> None:
    """The settings of its gateway, and the command of its edge, run here."""
    services = services_of(checkout, LEXISEG_ALLOWED_HOSTS=added)
    names = services["gateway"]["environment"]["LEXISEG_ALLOWED_HOSTS"]
    ours = ["localhost:8000", "127.0.0.1:8000", "10.0.0.7", "gateway:8000", "edge:8080"]
    ours += [f"{name}:8000" for name in added.split(",") if name]

    statuses = {}
    with on_ports(KnownBackend(), host="0.0.0.0", allowed_hosts=names) as gateway:
        address = gateway.url.removeprefix("http://")
        with edge.started(
            address, gateway.grpc, tmp_path / "log", LEXISEG_ALLOWED_HOSTS=names, command=_command_of(services["edge"])
        ) as front:
            for url in (gateway.url, front.url):
                for host in [*ours, "evil.example", "evil.example:8000"]:
                    for method, path, body in (PUT, ERASE):
                        asked = httpx.request(method, f"{url}{path}", json=body, headers={"Host": host}, timeout=SOON)
                        statuses[url, host, method] = asked.status_code

    refused = {host for (_, host, _), status in statuses.items() if status == 421}
    assert refused == {"evil.example", "evil.example:8000"}
    assert {status for (_, host, _), status in statuses.items() if host in refused} == {421}
    assert {status for (_, host, _), status in statuses.items() if host not in refused} <= {200, 201}


def _command_of(service: dict[str, Any]) -> list[str]:
    file = "/usr/local/etc/haproxy/haproxy.cfg"
    return [word.replace("$$", "$").replace(file, str(edge.CONFIGURATION)) for word in service["command"]]


def test_the_edge_is_healthy_when_its_own_check_says_so(services: dict[str, Any]) -> None:
    """The command of its container, run here."""
    (check,) = [service["healthcheck"]["test"] for name, service in services.items() if name == "edge"]
    assert check[:3] == ["CMD", "bash", "-c"]
    outcomes = []
    for status in (200, 503):

        class Health(Quiet):
            answer = status

            def do_GET(self) -> None:
                self.send_response(self.answer if self.path == "/healthz" else 404)
                self.end_headers()

        with serving(Health) as url:
            script = check[3].replace("8405", url.rpartition(":")[2])
            outcomes.append(subprocess.run(["bash", "-c", script], timeout=SOON).returncode)

    assert outcomes == [0, 1]
    assert services["edge"]["environment"]["EDGE_METRICS"] == ":8405"


def test_a_check_has_time_for_its_interpreter_to_start_beside_a_busy_model(services: dict[str, Any]) -> None:
    in_images = [float(seconds) for seconds in re.findall(r"^HEALTHCHECK .*--timeout=(\d+)s", DOCKERFILE, re.MULTILINE)]

    assert len(in_images) == DOCKERFILE.count("lexiseg_service.healthcheck")
    assert min(in_images) >= 4 * healthcheck.SECONDS
    assert services["worker"]["healthcheck"]["timeout"] == "10s"


def test_gpus_are_reserved_and_insisted_on(services: dict[str, Any], plain: dict[str, Any]) -> None:
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in services.items()
        if "reservations" in service.get("deploy", {}).get("resources", {})
    }

    assert set(reserved) == GPU
    for name, (device,) in reserved.items():
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"]), name
        assert services[name]["build"]["args"]["RUNTIME"] == "cuda"
    assert services["worker"]["environment"]["LEXISEG_DEVICE"] == "cuda"
    assert services["worker"]["deploy"]["replicas"] == 1
    assert plain["worker"]["environment"]["LEXISEG_DEVICE"] == "cpu"
    assert plain["worker"]["build"]["args"]["RUNTIME"] == "cpu"
    assert services["worker"]["image"] != plain["worker"]["image"]


STAGES = {
    name: (parent, text)
    for parent, name, text in re.findall(
        r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE.replace("\\\n", " "), re.MULTILINE | re.DOTALL
    )
}


def sources_of(stage: str) -> list[str]:
    """Paths of this repository that a stage and those below it copy."""
    parent, text = STAGES[stage]
    own = [path for line in re.findall(r"^COPY (?!--from)(.*)", text, re.MULTILINE) for path in line.split()[:-1]]
    return own + (sources_of(parent) if parent in STAGES else [])


def test_a_trainer_of_what_strangers_send_has_no_network_and_no_other_state(checkout: Path) -> None:
    services = services_of(checkout, "jobs", "trainings")
    tuner = services["tuner"]

    assert (tuner["network_mode"], tuner.get("networks")) == ("none", None)
    assert set(tuner["environment"]) == {"LEXISEG_TRAININGS", "LEXISEG_MODELS_DIR"}
    mounts = {name: {_mount(volume) for volume in services[name]["volumes"]} for name in ("gateway", "tuner")}
    trainings = ("trainings", services["gateway"]["environment"]["LEXISEG_TRAININGS"])
    assert mounts["tuner"] == {trainings, ("models", "/train/runs")}
    assert trainings in mounts["gateway"]
    # A new volume takes over the owner of the folder in the image.
    assert f"install -d -o 10001 -g 10001 -m 0700 {trainings[1]}" in DOCKERFILE


def _mount(volume: Any) -> tuple[str, str]:
    """Compose writes a mount as text or as a mapping, by its version."""
    if isinstance(volume, dict):
        return volume["source"], volume["target"]
    source, target, *_ = volume.split(":")
    return source, target


def test_the_trainers_image_alone_has_training() -> None:
    with_training = {name for name in STAGES if {"model/", "model/lexiseg_train/"} & set(sources_of(name))}

    assert with_training == {"trainer-build"}
    assert "--from=trainer-build" in STAGES["trainer"][1]
    assert all("trainer-build" not in STAGES[name][1] for name in ("gateway", "worker", "bulk"))


def test_a_worker_has_the_methods_of_this_repository_that_are_packages_and_their_libraries() -> None:
    (folders,) = re.findall(r'wheel\.sh \S+ "\$VERSION" (.*)', STAGES["worker-build"][1])
    projects = {path.parent: project_of(path.parent) for path in (ROOT / "model").glob("*/pyproject.toml")}
    methods = {home: each for home, each in projects.items() if "lexiseg.methods" in each.get("entry-points", {})}

    assert {home.name for home in methods} == {"lexiseg_falcon"}
    assert {f"./{home.relative_to(ROOT)}" for home in methods} <= set(folders.split())
    for lock in ("worker-cpu", "worker-gpu"):
        locked = set(re.findall(r"^(\S+)==", (ROOT / f"requirements/{lock}.lock").read_text(), re.MULTILINE))
        locked |= {"lexiseg-model", "torch"}  # built here; from its own index
        for each in methods.values():
            assert {re.split(r"[<>=\[]", line)[0] for line in each["dependencies"]} <= locked


@pytest.mark.parametrize("stage", STAGES)
def test_what_an_image_copies_is_there_and_is_sent_to_the_build(stage: str) -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    sent = tuple(rule[1:] for rule in rules if rule.startswith("!"))

    copied = sources_of(stage)
    parts = [path for path in copied if not path.startswith(sent)]

    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert [path for path in parts if not any(rule.startswith(path) for rule in sent)] == []


@pytest.mark.parametrize("stage", [name for name, (_, text) in STAGES.items() if "wheel.sh" in text])
def test_an_image_has_what_the_wheels_that_it_builds_are_made_of(stage: str) -> None:
    (folders,) = re.findall(r'wheel\.sh \S+ "\$VERSION" (.*)', STAGES[stage][1])
    copied = sources_of(stage)

    missing = []
    for folder in folders.split():
        project = project_of(folder)
        needed = ["pyproject.toml", *project["license-files"], *filter(None, [project.get("readme")])]
        paths = [(Path(folder) / name).as_posix() for name in needed]
        missing += [
            path for path in paths if not any(path == one or path.startswith(one.rstrip("/") + "/") for one in copied)
        ]

    assert missing == []


def test_torch_comes_from_its_own_index_and_everything_else_by_hash() -> None:
    (installs,) = re.findall(r"case \"\$RUNTIME\" in.*?\$list\.lock", DOCKERFILE, re.DOTALL)
    steps = re.findall(r"pip install (.*?)(?=&&|$)", installs.replace("\\\n", " "), re.DOTALL)

    assert "--extra-index-url" not in DOCKERFILE
    torch, *others = steps
    assert '--index-url "$index" --no-deps' in torch
    assert "torchvision==" in torch
    assert all("--no-deps --require-hashes" in step for step in others)
    assert "index=$TORCH_INDEX/cpu " in installs
    assert "index=$TORCH_INDEX/cu130 " in installs


def test_the_example_of_an_env_file_is_read_by_gateway_and_worker(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder)
    example = (folder / "deploy/compose/env.example").read_text()
    (folder / ".env").write_text(example + "LEXISEG_QUEUE_LIMIT=7\nLEXISEG_HTTP_PORT=8080\nREDIS_PASSWORD=of-redis\n")
    services = services_of(folder)

    for name in ("gateway", "worker"):
        assert str(services[name]["environment"]["LEXISEG_QUEUE_LIMIT"]) == "7"
        assert services[name]["environment"]["LEXISEG_REDIS_URL"] == "redis://:of-redis@redis:6379/0"
    # The port of the host is not the gateway's.
    assert str(services["gateway"]["environment"]["LEXISEG_HTTP_PORT"]) == "8000"
    assert "8080" in str(services["edge"]["ports"])
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_line_of_the_example_is_known(checkout: Path) -> None:
    names = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / "deploy/compose/env.example").read_text(), re.MULTILINE))
    files = "".join(file.read_text() for file in [ROOT / COMPOSE, *(ROOT / "deploy/compose").glob("*.yml")])
    settings = {f"LEXISEG_{name.upper()}" for name in Settings.model_fields}
    refuse_unknown(dict.fromkeys(names, "1"))  # the containers' commands are handed all of them

    assert names - {"COMPOSE_FILE"} <= settings | set(re.findall(r"\$\{([A-Z_]+)", files))


@pytest.mark.parametrize("password", ["", "secret"])
def test_redis_has_the_password_that_it_is_given_and_not_in_its_command_line(
    password: str, checkout: Path, tmp_path: Path
) -> None:
    """The command of its container, run here."""
    service = services_of(checkout, REDIS_PASSWORD=password)["redis"]
    assert "volatile-lru" in service["command"][2]
    assert "--appendonly yes" in service["command"][2]
    script = service["command"][2].replace("$$", "$").replace("/tmp/redis.conf", f"{tmp_path}/redis.conf")
    socket = tmp_path / "socket"
    process = subprocess.Popen(
        ["sh", "-c", f"{script.replace('/data', str(tmp_path))} --port 0 --unixsocket {socket}"],
        env={"PATH": os.environ["PATH"], "REDIS_PASSWORD": password},
        stdout=subprocess.DEVNULL,
    )
    try:
        retry = Retry(ConstantBackoff(0.1), 100)
        with redis.Redis(unix_socket_path=str(socket), password=password or None, retry=retry) as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(512 * 2**20)}
        if password:
            once = Retry(NoBackoff(), 0)
            with (
                redis.Redis(unix_socket_path=str(socket), retry=once) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
        assert not password or password not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("image", ["redis", "prometheus", "grafana"])
def test_images_of_others_are_named_by_digest(image: str, services: dict[str, Any]) -> None:
    assert re.search(r"@sha256:[0-9a-f]{64}$", services[image]["image"])
    assert re.search(r"^ARG BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert services["gateway"]["build"]["args"]["BASE_IMAGE"] in DOCKERFILE


def test_the_gateways_image_has_what_the_service_takes_of_the_models_package() -> None:
    stage = DOCKERFILE.split(" AS gateway-build\n")[1].split("\nFROM ")[0]

    files = set(re.findall(r"model/lexiseg_model/\S+\.py", stage))
    folders = [ROOT / each for each in re.findall(r"COPY (model/lexiseg_model/\w+/) ", stage)]
    copied = files | {str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("*.py")}

    named = [Path("model", *module.split(".")) for module in SHARED_WORDS]
    modules = {path.with_suffix(".py") for path in named if not (ROOT / path).is_dir()}
    packages = {path.with_name("__init__.py") for path in modules}
    assert {str(path) for path in modules | packages} <= copied
    assert {path for path in copied if "/pictures/" not in path} <= {str(path) for path in modules | packages}
