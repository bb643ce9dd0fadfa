import pytest

from lexiseg_service.commands.options import settings_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Limits, Settings


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEXISEG_MODEL", "LEXISEG_HTTP_PORT", "LEXISEG_MAX_CLASSES"):
        monkeypatch.delenv(name, raising=False)


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXISEG_MODEL", "other")

    assert settings_of({"model": "tiny"}).model == "tiny"


@pytest.mark.parametrize(
    "url",
    [
        "redsi://user:secret@host",
        "redis://user:secret@host:port",
        "redis://user:secret@host:99999",
        "user:secret@host:6379",
        "redis://:my/secret@host:6379/0",
        "redis://:my#secret@host:6379/0",
        "redis://:my?secret@host:6379/0",
    ],
)
def test_a_wrong_redis_address_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LEXISEG_REDIS_URL", url)

    with pytest.raises(InvalidValue, match="LEXISEG_REDIS_URL") as refused:
        settings_of({})

    assert "secret" not in f"{refused.value.detail} {refused.value.extra}"


@pytest.mark.parametrize("url", ["redis://user:a%2Fsecret@host:6379/0", "rediss://host", "unix:///run/redis.sock"])
def test_a_redis_address_is_kept_secret(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LEXISEG_REDIS_URL", url)
    settings = Settings()

    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url
    assert url not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", "host:99999"),
        ("worker_token", "sixteen signs and an \u00e4"),
        ("max_image_bytes", "99999999999"),
        ("max_grpc_bytes", "99999999999"),
        ("metrics_need_key", "true"),
        ("job_files", "s3://"),
        ("job_files", "http://host/results"),
        ("job_folders", "/photos,photos"),
        ("job_folders", "s3://"),
        ("label_studio_url", "label-studio"),
        ("label_studio_api_key", "a-token-without-an-address"),
        ("keep_days", "inf"),
        ("drain_seconds", "inf"),
    ],
)
def test_what_could_never_work_is_refused_at_the_start(name: str, value: str) -> None:
    with pytest.raises(InvalidValue, match=f"LEXISEG_{name.upper()}: expected "):
        settings_of({name: value})


def test_limits_that_follow_from_others_are_derived_where_they_are_not_set() -> None:
    limits = Limits(max_image_bytes=40 * 2**20, max_classes=10, max_text_length=20)
    settings = Settings(job_bytes_per_client=1000)

    assert (limits.grpc_bytes, limits.text_bytes) == (44 * 2**20, 200)
    assert settings.archive_bytes == 100
