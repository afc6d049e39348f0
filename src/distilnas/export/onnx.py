"""ONNX export with dynamic batch size, checked against PyTorch in onnxruntime."""

import copy
import io
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from distilnas.errors import DistilnasError, UsageError
from distilnas.files import write_bytes

TOLERANCE = 1e-3
OPSETS = range(13, 22)
_FIRST_OF_GRAPHS = 18


@dataclass(frozen=True, kw_only=True)
class OnnxReport:
    """Largest difference of logits between onnxruntime and PyTorch, also over the largest logit, of all sizes tried."""

    max_abs_difference: float
    relative_difference: float
    checked_images: int
    batch_sizes: tuple[int, ...]
    opset: int


def export_onnx(
    model: nn.Module, path: Path, images: Tensor, *, opset: int = 18, metadata: Mapping[str, str] = MappingProxyType({})
) -> OnnxReport:
    """Write ``model`` (input ``images``, output ``logits``, batch axis dynamic), checked on ``images`` (B, C, H, W).

    The model is exported in eval mode, from a copy on the CPU. Raises ``DistilnasError`` when onnxruntime's logits
    differ by more than 1e-3 of the largest logit (or are not numbers); no file is written then.

    ``opset``: of ``OPSETS``; a lower one is for runtimes that do not know the newest operators. ``metadata``: texts by
    name that the file carries (``session.get_modelmeta().custom_metadata_map``).
    """
    if opset not in OPSETS:
        raise UsageError(f"an ONNX opset is from {OPSETS[0]} to {OPSETS[-1]}, got {opset}.")
    model = copy.deepcopy(model).eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    images = images.cpu()
    data = _to_onnx(model, images, opset, metadata)
    sizes = tuple(sorted({1, max(1, len(images) // 2), len(images)}))
    difference, largest = _compare(model, data, images, sizes)
    relative = difference / max(largest, 1e-12)
    if not relative <= TOLERANCE:
        raise DistilnasError(
            f"the ONNX file does not compute what PyTorch does: logits differ by {relative:.1e} of the largest (limit "
            f"{TOLERANCE:.0e}); {path} was not written."
        )
    write_bytes(path, data)
    return OnnxReport(
        max_abs_difference=difference,
        relative_difference=relative,
        checked_images=len(images),
        batch_sizes=sizes,
        opset=opset,
    )


@torch.no_grad()
def _compare(model: nn.Module, data: bytes, images: Tensor, sizes: tuple[int, ...]) -> tuple[float, float]:
    """Largest absolute difference of logits and largest absolute logit; NaN anywhere gives NaN."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    differences, logits = [], []
    for size in sizes:
        expected = model(images[:size])
        (actual,) = session.run(None, {"images": images[:size].numpy()})
        differences.append((torch.from_numpy(actual) - expected).abs().max())
        logits.append(expected.abs().max())
    return float(torch.stack(differences).max()), float(torch.stack(logits).max())


def _to_onnx(model: nn.Module, images: Tensor, opset: int, metadata: Mapping[str, str]) -> bytes:
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = _by_graph(model, images, opset) if opset >= _FIRST_OF_GRAPHS else _by_trace(model, images, opset)
    finally:
        log.setLevel(level)
    proto = onnx.load_from_string(data)
    found = next(o.version for o in proto.opset_import if not o.domain)
    if found != opset:
        raise DistilnasError(f"PyTorch wrote opset {found} in place of {opset}; choose another export.opset.")
    onnx.helper.set_model_props(proto, dict(metadata))
    return proto.SerializeToString()


def _by_graph(model: nn.Module, images: Tensor, opset: int) -> bytes:
    program = torch.onnx.export(
        model,
        (images[:1].repeat(2, 1, 1, 1),),  # torch.export may take a batch axis of 1 for a constant
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    return program.model_proto.SerializeToString()


def _by_trace(model: nn.Module, images: Tensor, opset: int) -> bytes:
    """PyTorch's older exporter: what the newer one writes cannot be converted to operators of before opset 18."""
    buffer = io.BytesIO()
    torch.onnx.export(
        model,
        (images[:1].repeat(2, 1, 1, 1),),
        buffer,  # type: ignore[arg-type]
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=opset,
        dynamo=False,
        verbose=False,
    )
    return buffer.getvalue()
