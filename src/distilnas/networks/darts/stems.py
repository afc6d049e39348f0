"""The fixed beginnings of DARTS networks. Both give two maps: what the first cell takes for c_{k-2} and c_{k-1}."""

from collections import OrderedDict

from torch import nn


def make_stems(kind: str, in_chans: int, width: int) -> tuple[nn.Module, nn.Module]:
    """``stem0`` (images to c_{k-2}) and ``stem1`` (c_{k-2} to c_{k-1}) of a network of ``width``.

    ``cifar``: 3x3 convolution to 3 x width and batch norm; both maps are the same. ``imagenet``: three 3x3 convolutions
    of stride 2; c_{k-2} comes at a quarter, c_{k-1} at an eighth of the side, both with ``width`` channels.
    """
    if kind == "cifar":
        return _sequence(conv=_conv(in_chans, 3 * width, 1), bn=nn.BatchNorm2d(3 * width)), nn.Identity()
    assert kind == "imagenet"
    stem0 = _sequence(
        conv1=_conv(in_chans, width // 2, 2),
        bn1=nn.BatchNorm2d(width // 2),
        act=nn.ReLU(),
        conv2=_conv(width // 2, width, 2),
        bn2=nn.BatchNorm2d(width),
    )
    return stem0, _sequence(act=nn.ReLU(), conv=_conv(width, width, 2), bn=nn.BatchNorm2d(width))


def _conv(in_width: int, out_width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_width, out_width, 3, stride=stride, padding=1, bias=False)


def _sequence(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))
