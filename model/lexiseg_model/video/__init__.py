"""Frames of a video: scores that do not flicker, segments that keep their number. One memory per stream, bounded."""
