"""Networks and parts of them as files that a runtime reads."""

import hashlib
import io
import logging
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from distilnas.errors import UsageError
from distilnas.latency.settings import LatencySettings

_OPSET = 18
_FEW = 64  # numbers of a constant that steer an operator; larger ones are weights
_SUFFIX = {"onnxruntime": "onnx", "torch": "pt"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A network or a part of one: ``data`` is the file, ``shape`` what goes in, without batch."""

    name: str
    data: bytes
    shape: tuple[int, ...]
    runtime: str

    @property
    def suffix(self) -> str:
        """Of its file."""
        return _SUFFIX[self.runtime]

    @cached_property
    def key(self) -> str:
        """Equal for pieces that do the same work: names and values of weights aside."""
        told = _graph_of(self.data) if self.runtime == "onnxruntime" else self.data
        return hashlib.sha256(told + str(self.shape).encode()).hexdigest()[:24]


def make_piece(name: str, module: nn.Module, shape: tuple[int, ...], settings: LatencySettings) -> Piece:
    """``module`` (eval mode, on the CPU) for a batch of inputs of ``shape``, as the runtime of ``settings`` reads it.

    The batch is fixed: what depends on sizes alone is then computed when the file is loaded. Raises ``UsageError``
    where the module can't be written so.
    """
    example = torch.rand(settings.batch, *shape)
    with warnings.catch_warnings(), torch.no_grad(), _quiet():
        warnings.simplefilter("ignore")
        try:
            data = (_onnx if settings.runtime == "onnxruntime" else _torchscript)(module, example)
        except Exception as error:  # exporters raise almost anything
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UsageError(
                f"latency is measured in {settings.runtime}, but {name} can't be exported: {reason}"
            ) from (error)
    return Piece(name=name, data=data, shape=tuple(shape), runtime=settings.runtime)


def piece_of_file(path: Path, shape: tuple[int, ...]) -> Piece:
    """An ONNX file with one input, as it is."""
    return Piece(name=path.name, data=path.read_bytes(), shape=tuple(shape), runtime="onnxruntime")


def _onnx(module: nn.Module, example: torch.Tensor) -> bytes:
    """By PyTorch's older exporter: a tenth of a second where the newer one takes seconds."""
    buffer = io.BytesIO()
    names = {"input_names": ["images"], "output_names": ["output"]}
    torch.onnx.export(module, (example,), buffer, opset_version=_OPSET, dynamo=False, **names)  # type: ignore[arg-type]
    return buffer.getvalue()


def _torchscript(module: nn.Module, example: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, example, check_trace=False), buffer)
    return buffer.getvalue()


def _graph_of(data: bytes) -> bytes:
    """The operators with their settings, and of the tensors who reads whose and their shapes."""
    graph = onnx.load_from_string(data).graph
    numbers: dict[str, int] = {"": -1}
    constants = {tensor.name: _constant(tensor) for tensor in graph.initializer}
    lines = []
    for node in graph.node:
        read = [constants.get(name) or numbers.setdefault(name, len(numbers)) for name in node.input]
        written = [numbers.setdefault(name, len(numbers)) for name in node.output]
        settings = sorted(attribute.SerializeToString() for attribute in node.attribute)
        lines.append(repr((node.op_type, settings, read, written)))
    return "\n".join(lines).encode()


def _constant(tensor: onnx.TensorProto) -> tuple:
    values = numpy_helper.to_array(tensor)
    steers = tensor.data_type == onnx.TensorProto.INT64 and values.size <= _FEW
    return (tensor.data_type, tuple(tensor.dims), values.tolist() if steers else None)


class _quiet:
    """The exporters' own log, silent."""

    def __enter__(self) -> None:
        self._log = logging.getLogger("torch.onnx")
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._log.setLevel(self._level)
