"""Settings from the environment, with what the command line says on top."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings


def settings_of(options: dict[str, Any]) -> Settings:
    """Settings; None leaves an option to the environment.

    Raises:
        InvalidValue: an option or a `LEXISEG_*` variable is out of range.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        found = error.errors()[0]
        name = str(found["loc"][0])
        raise InvalidValue.of(
            f"--{name.replace('_', '-')} / LEXISEG_{name.upper()}",
            "***" if "SecretStr" in str(Settings.model_fields[name].annotation) else found["input"],
            found["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
        ) from None
