"""Errors of labels that cannot be read, written or shown; the client's are a tree with them.

LexisegError
 +- NoMasks            the answer has no masks: requested with mask="none"
 +- UnreadableAnswer   a mask, a map or an answer is damaged
 +- UnreadableLabels   labels of a tool that are not of their format, or of an impossible picture
 +- MissingLibrary     an optional library is not installed; also an ImportError
 +- NoViewer           no program, or no display, to show a picture
"""

from __future__ import annotations


class LexisegError(Exception):
    """Base class of the errors of labels and of the client."""


class NoMasks(LexisegError):
    """The answer has no masks."""


class UnreadableAnswer(LexisegError):
    """The response is not one of lexiseg."""


class UnreadableLabels(LexisegError):
    """Labels of a tool are not of their format, or of an impossible picture."""


class MissingLibrary(LexisegError, ImportError):
    """An optional library is not installed."""


class NoViewer(LexisegError):
    """The system has no program, or no display, to show a picture."""
