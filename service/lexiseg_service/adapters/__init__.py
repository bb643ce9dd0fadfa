"""Protocols of other tools, one module each; `LEXISEG_ADAPTERS` names the ones that a gateway loads.

An adapter converts a tool's request to a `Question`, asks as `POST /segment` does (`gateway.rest.routes`), and
writes the answer in the tool's format. Keys, limits and errors are the gateway's own.
"""
