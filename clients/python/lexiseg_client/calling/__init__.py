"""Calls as I/O-free generators: their steps and their retries, shared by both clients and both protocols."""
