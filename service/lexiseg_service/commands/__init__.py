"""The commands of the command line; cli.py puts them together.

A command is one module, or a package whose `app.py` has its options. Torch and optional libraries are imported after
all checks of the options.
"""
