"""The map that reads fewer channels, fitted anew: ridge regression towards what it is now (He et al., 2017, step two).

A cut takes inputs away from a linear layer. Its other weights can make up for much of what they carried, and what they
can't in the mean, a constant can: it goes into the layer's bias, or into the mean of the batch norm behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg
from torch import Tensor, nn

from distilnas.surgery.moments import Moment, ridged_factor

RIDGE = 3e-4  # of the mean variance of the inputs
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # among which held-out halves choose
_WIDE = 2048  # columns from which only those in the middle are tried: each costs two factorisations
_WELL_POSED = 4  # samples a column from which the ridge need not grow


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """``weight`` (outputs, columns) and ``constant`` (outputs,) of a map; ``ridge`` is the share that was used."""

    weight: np.ndarray
    constant: np.ndarray
    ridge: float


def fit_map(
    moment: Moment, cross: np.ndarray, start: np.ndarray, *, ridge: float = RIDGE, constant: bool = True
) -> Fit:
    """Least squares of targets on inputs: min mean |t - W x - b|^2 + r |W - start|^2, b free (0: no ``constant``).

    ``moment`` of the inputs (d,), ``cross`` (outputs, d + 1) the mean of t [x, 1]^T, ``start`` (outputs, d) the present
    map. r is ``ridge`` of the inputs' mean variance, and grows where there are less than 4 samples a column.
    """
    covariance, mean, target_mean = moment.covariance(), moment.mean, cross[:, -1]
    if not constant:
        covariance, mean, target_mean = moment.second[:-1, :-1], 0 * mean, 0 * target_mean
    columns = len(covariance)
    share = ridge * max(1.0, _WELL_POSED * columns / max(1, moment.samples))
    missing = cross[:, :-1] - np.outer(target_mean, mean) - start @ covariance  # covariance of inputs with what fails
    weight = start + linalg.cho_solve((ridged_factor(covariance, share), True), missing.T, check_finite=False).T
    return Fit(weight=weight, constant=target_mean - weight @ mean, ridge=share)


def fit_held_out(
    halves: Sequence[tuple[Moment, np.ndarray]],
    start: np.ndarray,
    *,
    ridges: Sequence[float] = RIDGES,
    constant: bool = True,
) -> Fit:
    """``fit_map`` on both halves of the samples, with the one of ``ridges`` that serves best from half to half.

    ``halves``: moment and cross of two sets of different images. Samples of one image depend on each other, so that
    their number alone would not tell how strong the ridge must be.
    """
    if start.shape[1] > _WIDE:
        ridges = ridges[1:-1]
    losses = [
        sum(
            _loss(fit_map(*fitted, start, ridge=ridge, constant=constant), *held)
            for fitted, held in zip(halves, reversed(halves), strict=True)
        )
        for ridge in ridges
    ]
    moment, cross = _together(halves)
    return fit_map(moment, cross, start, ridge=ridges[int(np.argmin(losses))], constant=constant)


def own_cross(moment: Moment, weight: np.ndarray, kept: np.ndarray) -> tuple[Moment, np.ndarray]:
    """For the map ``weight`` (outputs, d) itself as the target: moment and cross of its columns ``kept`` alone."""
    with_constant = np.append(kept, len(moment.second) - 1)
    second = moment.second[:, with_constant]
    return Moment(second=second[with_constant], samples=moment.samples), weight @ second[:-1]


def matrix_of(layer: nn.Module) -> np.ndarray:
    """The layer's weight as a matrix (outputs, columns) in float64, columns as ``moments.columns_of`` orders them."""
    return layer.weight.detach().double().flatten(1).cpu().numpy()  # type: ignore[union-attr,operator]


@torch.no_grad()
def set_map(layer: nn.Module, fit: Fit, norm: nn.Module | None = None) -> None:
    """Give ``layer`` the map of ``fit``; ``fit.constant`` is what is added behind its weights, its bias included.

    It becomes the layer's bias, else it is taken from the mean of the batch norm ``norm``; a layer with neither gets
    a bias where it needs one.
    """
    weight = _tensor(layer, "weight")
    weight.copy_(torch.from_numpy(fit.weight).to(weight).reshape(weight.shape))
    constant = torch.from_numpy(fit.constant).to(weight)
    if getattr(layer, "bias", None) is not None:
        _tensor(layer, "bias").copy_(constant)
    elif norm is not None:
        _tensor(norm, "running_mean").sub_(constant)
    elif bool(constant.any()):
        layer.bias = nn.Parameter(constant, requires_grad=weight.requires_grad)


def _loss(fit: Fit, moment: Moment, cross: np.ndarray) -> float:
    """Mean square error of ``fit``, but for the targets' own mean square."""
    whole = np.column_stack([fit.weight, fit.constant])
    return float(np.einsum("oi,oi->", whole @ moment.second - 2 * cross, whole))


def _together(parts: Sequence[tuple[Moment, np.ndarray]]) -> tuple[Moment, np.ndarray]:
    samples = sum(moment.samples for moment, _ in parts)
    second = sum(moment.second * moment.samples for moment, _ in parts) / samples
    cross = sum(cross * moment.samples for moment, cross in parts) / samples
    return Moment(second=np.asarray(second), samples=samples), np.asarray(cross)


def _tensor(layer: nn.Module, name: str) -> Tensor:
    tensor = getattr(layer, name)
    assert isinstance(tensor, Tensor)
    return tensor
