"""Heads: classes that clients teach by reviewed pictures."""
