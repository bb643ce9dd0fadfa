"""The commands of the command line; cli.py puts them together.

A command is one module, or a package with its options in `app.py`. Torch and optional libraries are imported after
all checks of the options.
"""
