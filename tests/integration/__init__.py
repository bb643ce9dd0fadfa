"""Tests against real processes and real sockets."""
