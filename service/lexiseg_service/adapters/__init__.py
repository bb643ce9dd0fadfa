"""Protocols of other tools, one module each; `LEXISEG_ADAPTERS` names those that a gateway loads.

An adapter converts a tool's request to a `Question`, asks as `POST /segment` does (`gateway.rest.routes`), and
writes the answer as the tool reads it. Keys, limits and errors are the gateway's own.
"""
