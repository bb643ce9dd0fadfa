"""Export the image pass of a model, and its parts, to ONNX."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.errors import ExportError
from lexiseg_model.export import onnx_runtime
from lexiseg_model.export.exportable import Exportable, Part
from lexiseg_model.export.int8 import quantise
from lexiseg_model.export.manifest import MANIFEST, RANGES, Bucket, Graph, Manifest, Numbers
from lexiseg_model.export.runner import TILES, OnnxRunner, PartSession

OPSET = 20
TRACED_SIZE = 9, 12  # (rows, columns) of `Part.example`
PREFIX = "weight."  # of the inputs that are weights
TRACED_TILES = 2  # a batch of one would be traced as a constant
CHECKED_SIZE = 10, 7  # (rows, columns) of `Part.example` to check parts with; not the traced ones
MAX_WEIGHT_BYTES = 2**31 - 2**20  # a protobuf holds at most 2 GiB
TOLERANCE = 1e-3  # largest difference between graph and network, relative to the largest value


def trace(
    network: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    sizes: tuple[Any, ...],
    outputs: Sequence[str] | None,
    target: Path,
) -> None:
    """Write the graph of a network by torch's exporter, which names outputs where `outputs` are None. `sizes` are the
    dynamic dimensions of the inputs, as `dynamic_shapes` of `torch.export`."""
    try:
        import onnx  # noqa: F401
        from onnxscript.ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError as error:
        raise ExportError(f"ONNX export needs {error.name}: `pip install onnx onnxscript`") from None
    in_place = [vars(module) for module in network.modules() if vars(module).get("inplace")]
    with warnings.catch_warnings(action="ignore"), torch.no_grad():  # the exporter warns about its own internals
        try:
            for activation in in_place:  # to decompose what writes into its input takes as long as all the rest
                activation["inplace"] = False
            program = torch.onnx.export(
                network,
                tuple(inputs),
                input_names=list(names),
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=sizes,
                verbose=False,
            )
        except Exception as error:  # tracing raises errors of many types
            raise ExportError(f"{type(network).__name__} cannot be exported as ONNX: {error}") from error
        finally:
            for activation in in_place:
                activation["inplace"] = True
    assert program is not None  # always set with `dynamo`
    ClearMetadataAndDocStringPass()(program.model)  # stack traces of the exporter, up to a third of a small graph
    program.save(target, external_data=False)


def bind(module: nn.Module, template: Path, file: Path) -> None:
    """Write a template with the weights of a module."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ExportError(f"ONNX export needs {error.name}: `pip install onnx`") from None
    model = onnx.load(template)
    weights = module.state_dict()
    for value in [value for value in model.graph.input if value.name.startswith(PREFIX)]:
        model.graph.input.remove(value)
        array = weights[value.name.removeprefix(PREFIX)].numpy()
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    onnx.save(model, file)


def export(segmenter: Exportable, folder: Path) -> Manifest:
    """Write float32 graphs of the image pass: uint8 tiles [N, 3, s, t] -> the tensors of `image_network`.

    The model is loaded as exact on the CPU. N is dynamic. One graph takes tiles of any shape, or each bucket gets its
    own (`Exportable.any_size`). All graphs are compared with the network before the folder is replaced atomically.
    """
    onnx_runtime.require()
    network = segmenter.image_network().eval()
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    if weights > MAX_WEIGHT_BYTES:
        raise ExportError(f"the image pass has {weights / 2**30:.1f} GiB of weights; an ONNX file holds 2 GiB")
    sizes: tuple[Bucket | None, ...] = (None,) if segmenter.any_size else segmenter.buckets
    if not sizes:
        raise ExportError(f"{segmenter.card.name} encodes whole images of any shape; a graph of it needs one shape")
    with _replacing(folder) as draft:
        graphs = []
        for size in sizes:
            file = "image.onnx" if size is None else f"image-{size[0]}x{size[1]}.onnx"
            # Tracing merges equal sides into one variable.
            unequal = (bucket for bucket in segmenter.buckets if bucket[0] != bucket[1])
            tiles = torch.zeros(TRACED_TILES, 3, *(size or next(unequal, segmenter.buckets[0])), dtype=torch.uint8)
            with torch.no_grad():
                network(tiles)  # values cached by a first pass must be numbers, not symbols of the trace
            free = dict.fromkeys((0,) if size else (0, 2, 3), torch.export.Dim.DYNAMIC)
            trace(network, [tiles], [TILES], (free,), None, draft / file)
            graphs.append(describe(draft / file, "float32", size))
        graphs += [write_part(part, draft) for part in segmenter.parts()]
        manifest = Manifest(
            model=segmenter.card.name,
            version=segmenter.card.version,
            digest=segmenter.digest,
            opset=OPSET,
            made_with={name: version(name) for name in ("torch", "onnx", "onnxscript")} | onnx_runtime.installed(),
            buckets=list(segmenter.buckets),
            graphs=graphs,
        )
        _compare(network, draft, manifest)
        _save(manifest, draft)
    return manifest


def add_int8(
    folder: Path, manifest: Manifest, photographs: Sequence[NDArray[np.uint8]], ranges: Path | None = None
) -> Manifest:
    """Add 8-bit graphs, and the activation ranges measured for them (`RANGES`), to an export.

    `photographs` are tiles [N, 3, s, t] of each, as `plan` makes them; without any, `ranges` are read, of a graph
    for any size.
    """
    graphs, how = [], ""
    for graph in manifest.image_pass("float32"):
        file = graph.file.replace(".onnx", ".int8.onnx")
        fitting = [tiles for tiles in photographs if graph.size in (None, tiles.shape[2:])]
        measured = folder / (RANGES if graph.size is None else file.replace(".onnx", f"-{RANGES}"))
        draft = folder / f".{file}.{os.getpid()}"  # other processes may write or load the same graph
        try:
            how = quantise(folder / graph.file, draft, fitting, measured if photographs or not ranges else ranges)
            draft.replace(folder / file)
        finally:
            draft.unlink(missing_ok=True)
        graphs.append(describe(folder / file, "int8", graph.size))
    graphs_before = [*manifest.image_pass("float32"), *manifest.parts]
    manifest = manifest.model_copy(update={"graphs": graphs_before + graphs, "int8": how})
    _save(manifest, folder)
    return manifest


def write_part(part: Part, folder: Path) -> Graph:
    """Write the graph of a part, of its template or by a trace, to `NAME.onnx` in a folder: its entry of a manifest."""
    file = folder / f"{part.name}.onnx"
    if part.template is None:
        sizes = tuple(map(dict, part.sizes.values()))
        trace(part.module.eval(), part.example(*TRACED_SIZE), list(part.sizes), sizes, part.outputs, file)
    else:
        bind(part.module.eval(), part.template, file)
    graph = describe(file, "float32", None, part.name)
    inputs = part.example(*CHECKED_SIZE)
    with torch.inference_mode():
        expected = part.module(*inputs)
    arrays = {name: value.numpy() for name, value in zip(part.sizes, inputs, strict=True)}
    outputs = [torch.from_numpy(array) for array in PartSession(folder, graph)(arrays)]
    _require_close(outputs, expected, f"the graph {part.name}")
    return graph


def _require_close(outputs: Sequence[Tensor], expected: Sequence[Tensor], what: str) -> None:
    for output, reference in zip(outputs, expected, strict=True):
        error = (output - reference).abs().max() / reference.abs().max().clamp_min(1e-6)
        if not error <= TOLERANCE:
            raise ExportError(f"{what} is off by {error:.2g} of the largest value")


def _compare(network: nn.Module, folder: Path, manifest: Manifest) -> None:
    """Compare graphs and network on noise; graphs for any size also on shapes that were not traced."""
    runner = OnnxRunner(folder, manifest, "float32", torch.device("cpu"), exact=True)
    random = np.random.default_rng(0)
    sampled = [*manifest.buckets[::4], manifest.buckets[-1]]
    shapes = {size for graph in manifest.graphs for size in ([graph.size] if graph.size else sampled)}
    for height, width in sorted(shapes):
        tiles = random.integers(0, 256, (TRACED_TILES, 3, height, width), dtype=np.uint8)
        with torch.inference_mode():
            expected = network(torch.from_numpy(tiles))
        outputs = runner.encode(tiles)
        assert outputs is not None  # a graph for any size, or for this one
        _require_close(outputs, expected, f"the graph for {height} x {width}")


def describe(path: Path, numbers: Numbers, size: Bucket | None, part: str | None = None) -> Graph:
    content = path.read_bytes()
    return Graph(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        numbers=numbers,
        size=size,
        part=part,
    )


def _save(manifest: Manifest, folder: Path) -> None:
    draft = folder / f".{MANIFEST}.{os.getpid()}"
    draft.write_text(manifest.model_dump_json(indent=1) + "\n")
    draft.replace(folder / MANIFEST)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` unless an error is raised."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ExportError(f"cannot write to {folder.parent}: {error.strerror}") from None
    try:
        yield draft
        draft.chmod(0o755)  # temporary folders are readable only by their owner
        old = draft.with_name(f"{draft.name}-old")
        with suppress(FileNotFoundError):
            folder.rename(old)
        try:
            draft.rename(folder)
        except OSError:
            if not (folder / MANIFEST).exists():  # otherwise another process has exported the same model
                raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
