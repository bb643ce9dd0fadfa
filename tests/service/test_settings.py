import pytest

from lexiseg_service.commands.options import settings_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings


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
