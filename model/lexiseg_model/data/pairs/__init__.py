"""Photographs with captions, in an order that a resumed run sees again.

A `PairSource` (tar shards, a folder with captions.json, a CSV) reads pair i of part p. `Order` says which pair stands
at which position of an endless shuffled stream; `PairStream` draws them for one rank and replaces what cannot be read;
`Skips` keeps count and names of those.
"""
