"""Other tools' protocols, each a thin view of the use case; `LEXISEG_ADAPTERS` names those that a gateway loads.

An adapter turns a tool's request into a `Question`, has it answered as `POST /segment` is (`gateway.rest.asking`), and
writes the answer as the tool reads it. Keys, limits and errors are the gateway's own.
"""
