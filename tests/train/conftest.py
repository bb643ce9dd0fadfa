"""Tests of what learns use the models and photographs of the tests of what is served."""

from tests.model.conftest import photographs, pytest_runtest_setup, tiny, tower

__all__ = ["photographs", "pytest_runtest_setup", "tiny", "tower"]
