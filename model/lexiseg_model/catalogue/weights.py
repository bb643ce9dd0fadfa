"""Read and check weights: a model directory's file by the SHA-256 on the card, and files of other publishers."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from lexiseg_model.cards import ModelCard
from lexiseg_model.errors import WeightsError

WEIGHTS = "weights.safetensors"  # file name of imported weights
COUNTER = "num_batches_tracked"
AGAIN = "copy the whole model directory again, or pull it with `lexiseg models pull`"
Settings = TypeVar("Settings", bound=BaseModel)
Network = TypeVar("Network", bound=nn.Module)
# Random initialisers, as torch function modes see them.
INITIALISERS = {Tensor.erfinv_, init.uniform_, init.normal_, init.kaiming_uniform_}
# Replaced by zeros: `init.trunc_normal_` repeats them until all values are within its limits.
BOUNDED_INITIALISERS = {Tensor.uniform_, Tensor.normal_}
ADDED_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.|network\.)+")  # by DataParallel, by torch.compile, by trainers
CRITERION = "criterion."  # prefix of losses that training may save
UNREADABLE = "damaged, cut short, or of another kind"


def read_weights(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Check the SHA-256 of a safetensors file and read it as float32 tensors."""
    if not path.exists():
        raise WeightsError(f"no weights at {path}; {AGAIN}")
    digest = file_digest(path)
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{path} has sha256 {digest}; its card says {sha256}; {AGAIN}")
    return {name: value.float() for name, value in _read_safetensors(path).items()}


def require_tensors(whose: str, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise WeightsError, which names the network, where tensors are missing, unknown or of another shape."""
    missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unknown:
        raise WeightsError(f"not the weights of {whose}: missing {listed(missing)}; unexpected {listed(unknown)}")
    for name, value in expected.items():
        if value.shape != state[name].shape:
            shape, expected_shape = list(state[name].shape), list(value.shape)
            raise WeightsError(f"not the weights of {whose}: {name} is {shape}; expected {expected_shape}")


def for_inference(network: Network, whose: str, state: Mapping[str, Tensor]) -> Network:
    """Load the weights of a network, which may lack `num_batches_tracked` of batch norms: inference does not use it."""
    expected = network.state_dict()
    state = {name: value for name, value in expected.items() if name.endswith(COUNTER)} | dict(state)
    require_tensors(whose, state, expected)
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with names that begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def require_named_weights(card: ModelCard, what: str, arguments: str) -> None:
    """Raise WeightsError, which says how `what` is imported, where a card names no weights and no hub has any."""
    if card.weights_sha256 is None:
        raise WeightsError(
            f"{card.name} has no weights here. Either import {what}, `lexiseg models import --method "
            f"{card.method.replace('_', '-')} {arguments}` with LEXISEG_MODELS_DIR set, or put a model directory "
            "(card.yaml and weights.safetensors) into LEXISEG_MODELS_DIR"
        )


def n_layers(state: Iterable[str], pattern: str | re.Pattern[str]) -> int:
    """One more than the largest number that a pattern finds at the beginning of a name; 1 where it finds none."""
    return 1 + max((int(match[1]) for name in state if (match := re.match(pattern, name))), default=0)


def listed(names: Sequence[str]) -> str:
    """The first names and the number of the others, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"


def settings_of(card: ModelCard, kind: type[Settings]) -> Settings:
    """Validate the settings of a card by its method's class. Raises WeightsError: they are invalid."""
    try:
        return kind.model_validate(card.settings)
    except ValidationError as error:
        raise WeightsError(f"{card.name}: the card's settings are not those of {card.method}: {error}") from None


class SkipInit(TorchFunctionMode):
    """Skip random initialisation, half of the time of a CLIP, of modules that get weights next; no random state
    changes."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        if func in BOUNDED_INITIALISERS:
            return args[0].zero_()
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


@contextmanager
def naming_files(*paths: Path) -> Iterator[None]:
    """Prefix WeightsErrors raised inside with the names of the files."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{', '.join(map(str, paths))}: {error}") from None


def file_digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_digest(card: ModelCard, weights: str) -> str:
    """Digest of everything that affects the image pass: weights, and the card's method, input and settings."""
    described = json.dumps([card.method, card.input.model_dump(), card.settings], sort_keys=True)
    return hashlib.sha256(f"{weights} {described}".encode()).hexdigest()[:16]


def state_digest(state: Mapping[str, Tensor], settings: bytes = b"") -> str:
    """SHA-256 of settings, and of tensors with their names and shapes, in hexadecimal."""
    total = hashlib.sha256(settings)
    for name, value in sorted(state.items()):
        total.update(f"{name} {list(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().numpy().data)
    return total.hexdigest()


def read_tensor_file(path: Path) -> Mapping[str, Any]:
    """Content of a safetensors file, or of a torch file as by `read_torch`."""
    require_file(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)


def read_torch(path: Path) -> Mapping[str, Any]:
    """Content of a torch file, a mapping of tensors and plain values, read without executing code in it."""
    require_file(path)
    if is_torchscript(path):
        raise WeightsError(
            f"{path} is a TorchScript archive, and loading one runs the code inside; expected plain tensors "
            "(`lexiseg models import --clip` converts an archive of OpenAI's once)"
        )
    try:
        with warnings.catch_warnings():  # torch's advice on how else a strange file might be read
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # in a file of another kind torch stumbles over whatever it takes for an instruction
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: sought before the start of half a file
            raise
        # Not torch's own words: they advise to load the file without the check, which runs what is inside.
        refused = re.search(r"GLOBAL (\S+)", str(error))
        why = (
            UNREADABLE
            if refused is None
            else (
                f"it holds {refused[1]}, and reading that would run code; save the tensors of its state dict alone, or "
                "read it once with `lexiseg models import --trust`"
            )
        )
        raise WeightsError(f"{path} is not a torch file of plain tensors: {why}") from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}; expected a state dict")
    return loaded


def require_file(path: Path) -> None:
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; expected a file of weights")
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code and tensors; reads the list of contents only."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def names_in_network(saved: Iterable[str]) -> dict[str, str]:
    """Map saved tensor names to names in the network: wrapper prefixes are cut, losses left out."""
    unwrapped = {name: ADDED_PREFIXES.sub("", name) for name in saved}
    return {name: inner for name, inner in unwrapped.items() if not inner.startswith(CRITERION)}


def require_prefixes(whose: str, state: Collection[str], prefixes: Collection[str]) -> None:
    """Raise WeightsError where tensor names begin with none of these; `whose`: the network, for the message."""
    if unknown := sorted(name for name in state if not name.startswith(tuple(prefixes))):
        first = sorted({f"{prefix.partition('.')[0]}." for prefix in prefixes})
        raise WeightsError(f"not the weights of {whose}: unexpected {listed(unknown)}; expected {', '.join(first)}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file: {UNREADABLE} ({error})") from None
