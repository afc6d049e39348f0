"""Moments against plain loops over samples, columns against the layers themselves."""

import numpy as np
import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from distilnas.errors import UsageError
from distilnas.surgery import moments
from distilnas.surgery.moments import columns_of, moment_bytes, rows_of, take_moments, thinned

LAYERS = {
    "1x1": nn.Conv2d(3, 4, 1),
    "1x1 strided": nn.Conv2d(3, 4, 1, stride=2),
    "3x3": nn.Conv2d(3, 4, 3, padding=1, bias=False),
    "3x3 strided, dilated": nn.Conv2d(3, 4, 3, stride=2, padding=2, dilation=2),
    "same": nn.Conv2d(3, 4, 3, padding="same"),
    "tensorflow's same": Conv2dSame(3, 4, 3, stride=2),
    "linear": nn.Linear(7, 4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_weight_times_columns_is_the_output(name):
    layer = LAYERS[name]
    x = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = columns_of(layer, x) @ layer.weight.flatten(1).T + (0 if layer.bias is None else layer.bias)
        torch.testing.assert_close(found, rows_of(layer, layer(x)), rtol=1e-4, atol=1e-5)


def test_grouped_convolutions_are_refused():
    with pytest.raises(UsageError, match="ungrouped"):
        columns_of(nn.Conv2d(4, 4, 3, groups=4), torch.zeros(1, 4, 5, 5))


def test_moments_are_means_over_all_places_of_all_images():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1))
    images = torch.randn(6, 3, 5, 5)
    (found,) = take_moments(net, {"last": net[2]}, images.split(2)).values()
    expected, number = np.zeros((6, 6)), 0
    with torch.no_grad():
        for image in net[:2](images):
            for place in image.flatten(1).T:
                x = np.append(place.double().numpy(), 1.0)
                expected, number = expected + np.outer(x, x), number + 1
    assert found.samples == number
    np.testing.assert_allclose(found.second, expected / number, rtol=1e-5)
    np.testing.assert_allclose(found.mean, found.second[-1, :-1])


def test_large_maps_are_thinned_evenly_and_need_no_more_memory(monkeypatch):
    monkeypatch.setattr(moments, "PER_COLUMN", 4)
    net = nn.Sequential(nn.Identity(), nn.Conv2d(2, 2, 1))
    (found,) = take_moments(net, {"a": net[1]}, [torch.randn(3, 2, 40, 40)]).values()
    assert found.samples <= 4 * 3
    assert moment_bytes(net[1]) == 2 * 8 * 9
    assert thinned(100, 50) == slice(None, None, 3)
    assert thinned(10, 50) == slice(None, None, 1)
