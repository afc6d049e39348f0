"""Scores of untrained networks from one batch, the baselines that cost almost nothing; higher is better in all.

Every score works on a copy: the network's weights, buffers, gradients and mode stay as they are. Where sums could
overflow or cancel they are taken in double precision. Random initialisation is the caller's; average over seeds.
"""

import copy
from collections.abc import Callable

import torch
from timm.layers import GELU  # type: ignore[attr-defined]
from torch import Tensor, nn

from distilnas.errors import UsageError

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, GELU)
_NORMS = nn.modules.batchnorm._BatchNorm
_JITTER = 1e-5


def synflow(network: nn.Module, images: Tensor) -> float:
    """Synaptic flow (Tanaka et al., NeurIPS 2020; as an architecture score: Abdelfattah et al., ICLR 2021).

    With all parameters replaced by their absolute values and one image of ones (only the shape of ``images``
    (B, C, H, W) counts), R is the sum of the outputs and the score the sum over weights w of w * dR/dw. As in the
    second paper batch norm does nothing here, and only convolution and linear weights count.
    """
    network = _copy(network).double()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _NORMS):
                _neutralise(module)
        for parameter in network.parameters():
            parameter.abs_()
    ones = torch.ones((1, *images.shape[1:]), dtype=torch.float64, device=images.device)
    weights = [m.weight for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear)]
    gradients = torch.autograd.grad(network(ones).sum(), weights, allow_unused=True)
    return float(sum((w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True) if g is not None))


def jacob_cov(network: nn.Module, images: Tensor) -> float:
    """Covariance of the input Jacobian (Mellor et al., 2020, first version of the paper below).

    The rows of J (B, C*H*W) are the gradients of each image's summed outputs; v are the eigenvalues of their (B, B)
    correlation matrix, and the score is -sum(log(v + k) + 1 / (v + k)), k = 1e-5: highest where no two images have
    alike gradients. Batch norm uses the batch's statistics, so a row also holds the image's effect on its batch. J is
    taken in the precision of the network's weights.
    """
    _check_batch(images)
    network = _copy(network)
    inputs = images.to(next(network.parameters()).dtype, copy=True).requires_grad_()
    (jacobian,) = torch.autograd.grad(network(inputs).sum(), inputs)
    rows = jacobian.double().flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    values = torch.linalg.eigvalsh(rows @ rows.T).clamp_min(0) + _JITTER
    return -float((values.log() + 1 / values).sum())


@torch.no_grad()
def naswot(network: nn.Module, images: Tensor) -> float:
    """Neural architecture search without training (Mellor et al., ICML 2021): log |det K|.

    K[i, j] counts the activation units, over all layers, that are on for both of the images i and j or off for both.
    For activations other than ReLU a unit is on when its input is positive (ours; the paper has ReLU only). Minus
    infinity, up to rounding, when two images switch all units alike. Batch norm uses the batch's statistics.
    """
    _check_batch(images)
    network = _copy(network).double()  # where no activation is fused into the layer before it
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        on = (inputs[0].flatten(1) > 0).float()  # whole numbers: exact up to 2^24 units a layer
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    layers = [module for module in network.modules() if isinstance(module, ACTIVATIONS)]
    for layer in layers:
        layer.register_forward_pre_hook(count)
    network(images.double())
    if not kernel.any():
        names = ", ".join(kind.__name__ for kind in dict.fromkeys(ACTIVATIONS))
        raise UsageError(f"naswot needs activation layers ({names}), the network runs through none.")
    return float(torch.linalg.slogdet(kernel).logabsdet)


ZERO_COST: dict[str, Callable[[nn.Module, Tensor], float]] = {
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "naswot": naswot,
}


def _copy(network: nn.Module) -> nn.Module:
    """Batch norm using the batch's statistics, nothing random (dropout, stochastic depth)."""
    network = copy.deepcopy(network).requires_grad_().eval()
    for module in network.modules():
        if isinstance(module, _NORMS):
            module.train()
    return network


def _neutralise(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """The norm then passes its input on as it is."""
    norm.eval()
    if norm.running_mean is None or norm.running_var is None:
        raise UsageError("synflow needs batch norm with running statistics, one layer has none.")
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    if norm.affine:
        norm.weight.fill_(1)
        norm.bias.zero_()


def _check_batch(images: Tensor) -> None:
    if len(images) < 2:
        raise UsageError(f"this score compares images, it needs a batch of at least 2, got {len(images)}.")
