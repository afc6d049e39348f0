"""When our kernels may stand in for PyTorch's, and how they are called."""

import ctypes

import torch
from torch import Tensor

from distilnas.kernels.build import library

DTYPES = (torch.float32, torch.bfloat16)


def is_plain(input: Tensor, *parameters: Tensor) -> bool:
    """Whether ``input`` (B, C, H, W) is an ordinary tensor on the CPU, as the parameters are.

    Not while a network is traced, compiled or exported: graphs are to hold PyTorch's own operators.
    """
    if type(input) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return (
        all(tensor.device.type == "cpu" for tensor in (input, *parameters))
        and input.ndim == 4
        and input.numel() > 0
        and library() is not None
    )


def asks_gradient(*tensors: Tensor) -> bool:
    """Whether a gradient will be asked for."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def is_plain_training(input: Tensor, *parameters: Tensor) -> bool:
    """``is_plain``, and a gradient will be asked for."""
    return is_plain(input, *parameters) and asks_gradient(input, *parameters)


def call(function: str, settings: ctypes.Structure, *tensors: Tensor) -> None:
    """Run a kernel: its settings, the first tensor's precision, the tensors' memory, the number of threads.

    Tensors must be dense in the order that the kernel expects.
    """
    kernels = library()
    assert kernels is not None
    assert tensors[0].dtype in DTYPES
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    is_bf16 = int(tensors[0].dtype == torch.bfloat16)
    getattr(kernels, function)(ctypes.byref(settings), is_bf16, *pointers, torch.get_num_threads())
