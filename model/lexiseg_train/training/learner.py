"""The optimisation of a network: parameter groups, number type, gradient steps, and a moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.checkpoint import checkpoint

from lexiseg_model.errors import RecipeError, WeightsError
from lexiseg_model.resources.device import inference_dtype, wide
from lexiseg_train.training.checkpoints import kept_random, random_states, restore_random
from lexiseg_train.training.distributed import (
    LossPass,
    averaged,
    from_shards,
    gathered,
    largest,
    own_shard,
    placed_as,
    shard,
    share_norms,
    unsharded,
)
from lexiseg_train.training.processes import world_size
from lexiseg_train.training.recipe import DecayRule, RunRecipe

Rows: TypeAlias = tuple[Tensor, ...]  # a NamedTuple; the first axis of each counts examples, or batches
NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm, nn.modules.instancenorm._InstanceNorm)
Network = TypeVar("Network", bound=nn.Module)


class Group(NamedTuple):
    """Parameters with the same weight decay and factor of the learning rate."""

    names: list[str]
    decays: bool
    factor: float


def _decays(rule: DecayRule, name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    """Whether a parameter decays.

    `matrices` is tiny's rule; `all-but-vectors` TCL's and Swin's, where scalars such as temperatures decay;
    `all-but-norms-and-embeddings` Mask2Former's, where biases decay.
    """
    if rule == "matrices":
        return parameter.ndim > 1
    if rule == "all-but-vectors":
        return parameter.ndim == 0 or (parameter.ndim > 1 and not name.endswith(".bias"))
    is_norm = isinstance(owner, NORMS) or "Norm" in type(owner).__name__
    # A learned vector without a module, such as a token, counts as an embedding.
    return not is_norm and not isinstance(owner, nn.Embedding) and name.endswith(("weight", "bias"))


def groups(network: nn.Module, rule: DecayRule, factors: Mapping[str, float] = {}) -> list[Group]:
    """Sort every parameter into one group, the ones that decay first; of `factors` the longest matching name counts."""
    names: dict[tuple[float, bool], list[str]] = {}
    unused = set(factors)
    for name, parameter in network.named_parameters():
        parts = [part for part in factors if name == part or name.startswith(f"{part}.")]
        unused -= set(parts)
        factor = factors[max(parts, key=len)] if parts else 1.0
        owner = network.get_submodule(name.rpartition(".")[0])
        names.setdefault((factor, _decays(rule, name, parameter, owner)), []).append(name)
    if unused:
        raise RecipeError(f"rate_factors: the network has no part {', '.join(sorted(unused))}")
    order = sorted({factor for factor, _ in names}, key=lambda factor: (factor != 1, factor))
    return [Group(names.get((factor, decays), []), decays, factor) for factor in order for decays in (True, False)]


def recompute(network: nn.Module, parts: Iterable[str]) -> None:
    """Let parts of a network, of lists their members, keep no activations: the backward pass computes them again."""
    for name, part in _parts(network, parts, "recompute"):
        if any(isinstance(each, _BatchNorm) for each in part.modules()):
            raise RecipeError(f"recompute: {name} has batch norms, whose statistics would count twice")
        for each in _members(part):
            each.forward = partial(checkpoint, each.forward, use_reentrant=False)


def compile_parts(network: nn.Module, parts: Iterable[str], backend: str) -> None:
    """Let torch.compile translate parts of a network when they first run; names of tensors stay as they are."""
    if backend not in (backends := torch.compiler.list_backends(exclude_tags=())):
        raise RecipeError(f"compiler: there is no backend {backend}; known: {', '.join(backends)}")
    for _, part in _parts(network, parts, "compiled"):
        part.compile(backend=backend)


def _parts(network: nn.Module, names: Iterable[str], setting: str) -> Iterator[tuple[str, nn.Module]]:
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise RecipeError(f"{setting}: the network has no part {name}")
        yield name, modules[name]


def _members(part: nn.Module) -> list[nn.Module]:
    return list(part.children()) if isinstance(part, (nn.ModuleList, nn.Sequential)) else [part]


class Learner(Generic[Network]):
    """A network with its optimiser and average. One step is `begin`, `backward`, `apply`."""

    def __init__(self, recipe: RunRecipe, network: Network, device: torch.device) -> None:
        """Move a network to its device and prepare its optimiser; weights become rank 0's, batch norms are shared."""
        self._recipe = recipe
        self._device = device
        # Of autocast; `auto` is the type that the device serves in.
        self.dtype = inference_dtype(device) if recipe.precision == "auto" else getattr(torch, recipe.precision)
        sharded = recipe.sharding == "full" and world_size() > 1
        placed = network.to(device)
        if not sharded:  # FSDP's tensors are contiguous
            convert_conv2d_weight_memory_format(placed, torch.channels_last)
        for tensor in placed.state_dict().values() if world_size() > 1 else ():
            dist.broadcast(tensor, 0)
        self.network: Network = share_norms(placed)
        recompute(self.network, recipe.recompute)
        if recipe.compiled:
            compile_parts(self.network, recipe.compiled, recipe.compiler)
        self._loss_pass = LossPass(self.network)
        if sharded:
            parts = _parts(self.network, recipe.recompute, "recompute")
            shard(self._loss_pass, [each for _, part in parts for each in _members(part)], device)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.groups = groups(self.network, recipe.decay_rule, recipe.rate_factors)
        named = dict(self.network.named_parameters())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [named[name] for name in group.names], "weight_decay": recipe.weight_decay * group.decays}
                for group in self.groups
            ],
            lr=recipe.learning_rate,
            betas=recipe.betas,
            eps=recipe.epsilon,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self._group = dist.new_group() if world_size() > 1 else None
        self._averaging: tuple[list[bool], DistributedDataParallel] | None = None
        # Buffers by type, and copies from before a step: a batch without a finite loss must leave no trace.
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in self.network.buffers():
            self._buffers.setdefault(buffer.dtype, []).append(buffer)
        self._buffers_before = {kind: [buffer.clone() for buffer in buffers] for kind, buffers in self._buffers.items()}

    def begin(self, rate: float) -> None:
        """Begin a step at a learning rate: no gradients, and buffers remembered in case the step is lost."""
        for group, sorted_in in zip(self.optimizer.param_groups, self.groups, strict=True):
            group["lr"] = rate * sorted_in.factor
        for kind, buffers in self._buffers.items():
            torch._foreach_copy_(self._buffers_before[kind], buffers)
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Callable[[Any], Tensor], batches: Sequence[Any]) -> float:
        """Compute the gradients of the mean loss of batches, over all processes; returns this process's mean loss."""
        n_batches, averaging = len(batches), self._averaging_pass()
        return math.fsum(
            self._backward_pass(lambda each: loss(each) / n_batches, batch, averaging, last=number == n_batches)
            for number, batch in enumerate(batches, 1)
        )

    def backward_over_rows(
        self, embed: Callable[[Any], Rows], loss: Callable[[Any], Tensor], batches: Sequence[Any]
    ) -> float:
        """Compute the gradients of one loss over the rows of all batches, with the memory of one batch (GradCache).

        A first pass embeds every batch, and keeps only the activations of the first. The loss of all rows gives the
        gradients of these, and a second pass embeds each other batch again, with the same random numbers, and takes
        them on to the weights (Gao et al., 2021, section 3). A single batch takes one pass.

        `embed` gives rows of a batch, a NamedTuple; norms before them see one batch. `loss` is of the concatenated
        rows, at least float32, outside autocast. Batches are equally many in every process. Returns its own loss.
        """

        def rows_of(batch: Any) -> Any:
            rows: Any = embed(batch)
            return rows._make(map(wide, rows))

        def loss_of(rows: Any) -> Tensor:
            with torch.autocast(self._device.type, enabled=False):
                return loss(rows)

        averaging = self._averaging_pass()  # before the first pass: FSDP leaves weights whole after it
        if len(batches) == 1:
            return self._backward_pass(lambda batch: loss_of(rows_of(batch)), batches[0], averaging, last=True)
        random, embedded = [random_states(self._device)], [self._loss_pass(rows_of, batches[0])]
        buffers = {kind: [buffer.clone() for buffer in several] for kind, several in self._buffers.items()}
        with torch.no_grad():
            for batch in batches[1:]:
                random.append(random_states(self._device))
                embedded.append(self._loss_pass(rows_of, batch))
        self._restore_buffers(buffers)  # the second pass counts them
        leaves = [torch.cat(column).detach().requires_grad_() for column in zip(*embedded, strict=True)]
        value = self._backward_pass(loss_of, embedded[0]._make(leaves), averaging, last=False)
        scale = self.scaler.get_scale()
        # DDP averages what the last pass uses: it takes on the gradients of weights that only the loss uses, too.
        own = [weight for weight in averaging.parameters() if weight.grad is not None] if averaging is not None else []
        own_pairs = [(weight, weight.grad / scale) for weight in own if weight.grad is not None]
        for weight in own:
            weight.grad = None
        gradients = [
            torch.split(leaf.new_zeros(leaf.shape) if leaf.grad is None else leaf.grad / scale, len(rows))
            for leaf, rows in zip(leaves, embedded[0], strict=True)
        ]

        def taken_on(numbered: tuple[int, Any]) -> Tensor:
            number, batch = numbered
            rows = rows_of(batch) if number else embedded[0]
            pairs = [*zip(rows, (gradient[number] for gradient in gradients), strict=True)]
            if number == len(batches) - 1:
                pairs += own_pairs
            # A scalar with the second of each pair as its gradient by the first.
            return torch.stack([(tensor * gradient).sum() for tensor, gradient in pairs]).sum()

        for number, batch in enumerate(batches):
            restore_random(random[number], self._device)
            self._backward_pass(taken_on, (number, batch), averaging, last=number == len(batches) - 1)
        return value

    def _backward_pass(
        self, loss: Callable[[Any], Tensor], batch: Any, averaging: DistributedDataParallel | None, *, last: bool
    ) -> float:
        """Add the gradients of a loss; only the last pass of a step communicates, but for FSDP, which keeps shards."""
        loss_of = partial(self._loss_pass, loss)
        with averaging.no_sync() if averaging is not None and not last else nullcontext():
            value = loss_of(batch) if averaging is None else averaging(loss_of, batch)
            self.scaler.scale(value).backward()
        return float(value.item())

    def _averaging_pass(self) -> DistributedDataParallel | None:
        """A pass that averages gradients over processes; built again when what is trained changes. None: nothing is."""
        parameters = [parameter for parameter in self.network.parameters() if own_shard(parameter) is parameter]
        trained = [parameter.requires_grad for parameter in parameters]
        if self._group is None or not any(trained):
            return None
        if self._averaging is None or self._averaging[0] != trained:
            self._averaging = trained, averaged(parameters, self._group)
        return self._averaging[1]

    def apply(self, loss: float, step: int) -> bool:
        """Update weights and average; False, and nothing changes, where loss or gradients are not finite."""
        self.scaler.unscale_(self.optimizer)
        limit = self._recipe.largest_gradient
        norm = from_shards(
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), math.inf if limit is None else limit)
        )
        # float16 overflows now and then: the scaler then skips the step by itself and lowers the scale.
        finite = math.isfinite(loss) and (bool(norm.isfinite()) or self.scaler.get_scale() > 1)
        [is_lost] = largest([float(not finite)], self._device)
        if not is_lost:
            self.scaler.step(self.optimizer)
            self._update_average(step)
        else:
            self._restore_buffers(self._buffers_before)
        self.scaler.update()
        return not is_lost

    def _restore_buffers(self, copies: Mapping[torch.dtype, list[Tensor]]) -> None:
        """Undo changes of buffers. By `data`: a graph may have saved them, and no backward pass reads them."""
        for kind, buffers in self._buffers.items():
            torch._foreach_copy_([buffer.data for buffer in buffers], copies[kind])

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self._recipe.average_decay, (1 + step) / (10 + step))
        state = self.network.state_dict(keep_vars=True)
        moved = [name for name, value in self.average.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [own_shard(self.average[name]) for name in moved], [own_shard(state[name]) for name in moved], 1 - decay
        )

    @contextmanager
    def as_average(self) -> Iterator[None]:
        """Hold the averaged weights in eval mode and `whole` during the block; restores weights and random states."""
        current = {name: value.clone() for name, value in self.network.state_dict().items()}
        with kept_random(self._device), torch.no_grad():
            self.network.load_state_dict(self.average)
            self.network.eval()
            try:
                with self.whole():
                    yield
            finally:
                self.network.load_state_dict(current)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Hold a sharded network and its average whole during the block, which every process enters."""
        shards = self.average
        self.average = {name: from_shards(value) for name, value in shards.items()}
        try:
            with unsharded(self._loss_pass):
                yield
        finally:
            self.average = shards

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint needs, the same of a sharded network; in rank 0, every process calls it."""
        state: dict[str, Any] = gathered(
            {
                "network": dict(self.network.state_dict()),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            }
        )
        return state

    def restore(self, state: dict[str, Any]) -> None:
        if (names := state["network"].keys() ^ self.average.keys()) or state["average"].keys() != self.average.keys():
            raise WeightsError(
                f"the checkpoint is of another network: {len(names)} tensors differ, such as {min(names, default='')}"
            )
        network = self.network.state_dict()
        placed = {name: placed_as(value, network[name]) for name, value in state["network"].items()}
        self.network.load_state_dict(placed)
        self.average = {name: placed_as(value, self.average[name]) for name, value in state["average"].items()}
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        moments = {
            index: {name: placed_as(value, parameters[index]) for name, value in of_one.items()}
            for index, of_one in state["optimizer"]["state"].items()
        }
        self.optimizer.load_state_dict(state["optimizer"] | {"state": moments})
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
