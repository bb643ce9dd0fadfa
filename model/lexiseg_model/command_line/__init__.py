"""What commands of the service and of training share: options, files that they write, progress, signals.

Needs typer and rich (the extra `commands`). Does not import torch.
"""
