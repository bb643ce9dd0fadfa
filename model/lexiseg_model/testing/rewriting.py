"""Lets pytest show the values of the suite's failed assertions, as in test files."""

import pytest

MODULES = ("images", "prompts", "tasks", "words")

pytest.register_assert_rewrite(*(f"lexiseg_model.testing.{name}" for name in MODULES))
