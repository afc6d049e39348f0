"""ONNX export with dynamic batch size, checked against PyTorch in onnxruntime."""

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from distilnas.errors import DistilnasError
from distilnas.files import write_bytes

TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class OnnxReport:
    """Largest difference of logits between onnxruntime and PyTorch, over the largest logit, for the batch sizes tried."""

    max_abs_difference: float
    relative_difference: float
    checked_images: int
    batch_sizes: tuple[int, ...]
    opset: int


def export_onnx(model: nn.Module, path: Path, images: Tensor, *, opset: int = 18) -> OnnxReport:
    """Write ``model`` (input ``images``, output ``logits``, batch axis dynamic) and check it on ``images`` (B, C, H, W).

    Raises ``DistilnasError`` when onnxruntime's logits differ by more than 1e-3 of the largest logit; no file is written then.
    """
    model = model.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    data = _to_onnx(model, images, opset)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    sizes = tuple(sorted({1, max(1, len(images) // 2), len(images)}))
    difference = largest = 0.0
    for size in sizes:
        with torch.no_grad():
            expected = model(images[:size])
        (actual,) = session.run(None, {"images": images[:size].numpy()})
        difference = max(difference, float((torch.from_numpy(actual) - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
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


def _to_onnx(model: nn.Module, images: Tensor, opset: int) -> bytes:
    buffer = io.BytesIO()
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (images[:2],),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        program.save(buffer)
    finally:
        log.setLevel(level)
    return buffer.getvalue()
