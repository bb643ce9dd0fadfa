"""Threads of the stages: sources share their time, and none keeps the event loop from answering."""
