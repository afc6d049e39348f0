"""Megabytes of what a run writes, from counts; tables are written aside to find theirs."""

import tempfile
from pathlib import Path

import torch
from plotly.offline import get_plotlyjs
from torch import nn

from distilnas.tables import CostTable, RatingTable
from distilnas.training import OptimSettings
from distilnas.training.optim import make_optimizer

_MB = 1e6
_HEADER = 75  # bytes of a tensor's entry in a safetensors file, besides its name
_NODE = 2000  # bytes that the ONNX exporter writes about each layer
_CALL = 3700  # bytes that a program has about each layer, with its weights padded


def weights_mb(model: nn.Module) -> float:
    """A network's weights and buffers as a safetensors file."""
    state = model.state_dict()
    return sum(v.numel() * v.element_size() + len(name) + _HEADER for name, v in state.items()) / _MB


def checkpoint_mb(model: nn.Module, optim: OptimSettings, *, averaged: bool = False) -> float:
    """Its checkpoint while it trains: weights, what the optimiser keeps of each, and their moving average."""
    params = sum(p.numel() * p.element_size() for p in model.parameters()) / _MB
    return weights_mb(model) * (2 if averaged else 1) + params * _kept_per_weight(optim)


def table_mb(table: CostTable | RatingTable) -> float:
    """A table as its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npz"
        table.save(path)
        return path.stat().st_size / _MB


def onnx_mb(model: nn.Module) -> float:
    """A network as an ONNX file."""
    layers = sum(1 for part in model.modules() if not any(part.children()))
    return sum(p.numel() * p.element_size() for p in model.parameters()) / _MB + _NODE * layers / _MB


def program_mb(model: nn.Module) -> float:
    """A network as a program of PyTorch."""
    layers = sum(1 for part in model.modules() if not any(part.children()))
    return weights_mb(model) + _CALL * layers / _MB


def report_mb() -> float:
    """The HTML report, most of which is plotly itself."""
    return len(get_plotlyjs()) / _MB


def _kept_per_weight(optim: OptimSettings) -> float:
    """Numbers that the optimiser keeps for each weight, seen on a small matrix."""
    matrix = nn.Linear(64, 64, bias=False)
    optimizer = make_optimizer(matrix, optim)
    matrix.weight.grad = torch.zeros_like(matrix.weight)
    optimizer.step()
    kept = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor)]
    return sum(v.numel() for v in kept) / matrix.weight.numel()
