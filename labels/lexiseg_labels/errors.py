"""Errors of labels that cannot be read, written or shown; the client's are a tree with them."""

from __future__ import annotations


class LexisegError(Exception):
    """Base class of the errors of labels and of the client."""


class NoMasks(LexisegError):
    """The answer has no masks: requested with mask="none"."""


class UnreadableAnswer(LexisegError):
    """The response is not one of lexiseg, or a mask or map in it is damaged."""


class UnreadableLabels(LexisegError):
    """Labels of a tool are not of their format, or of an impossible picture."""


class MissingLibrary(LexisegError, ImportError):
    """An optional library is not installed."""


class NoViewer(LexisegError):
    """The system has no program, or no display, to show a picture."""
