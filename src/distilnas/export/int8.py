"""A network's ONNX file in 8-bit integers, by onnxruntime's static quantisation, and its accuracy."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from distilnas.errors import DistilnasError
from distilnas.files import write_bytes


def export_int8(path: Path, to: Path, batches: Sequence[Tensor]) -> None:
    """Write ``path``, a file of ``export_onnx``, in 8 bits to ``to``: quantise and dequantise around each operator.

    Weights are signed and scaled per channel, activations have the range that they take on ``batches`` of images
    (B, C, H, W), which should be training images. Raises ``DistilnasError`` where onnxruntime can't.
    """
    with tempfile.TemporaryDirectory(prefix="int8-") as name:
        folded, done = Path(name) / "folded.onnx", Path(name) / "int8.onnx"
        try:
            quant_pre_process(path, folded, skip_symbolic_shape=True)
            quantize_static(
                folded,
                done,
                _Reader(batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # its passes raise almost anything
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise DistilnasError(f"onnxruntime cannot quantise {path.name}: {reason}. Export without int8.") from error
        write_bytes(to, done.read_bytes())


def onnx_top1(path: Path, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Percent of images that the file at ``path`` classifies as their labels say."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    right: list[np.ndarray] = []
    for images, labels in batches:
        (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        right.append(np.asarray(logits).argmax(1) == labels.numpy())
    return 100 * float(np.concatenate(right).mean())


class _Reader(CalibrationDataReader):
    """Batches by the name that ``export_onnx`` gives its input."""

    def __init__(self, batches: Sequence[Tensor]) -> None:
        self._rest: Iterator[Tensor] = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        """See the base class."""
        images = next(self._rest, None)
        return None if images is None else {"images": images.numpy()}
