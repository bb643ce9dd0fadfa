"""Exporters of segments to other tools' formats: plain functions, each behind a method of `Segmentation`."""
