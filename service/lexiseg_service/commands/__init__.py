"""Commands of the command line, a module or a folder each; `cli.py` imports and names them."""
