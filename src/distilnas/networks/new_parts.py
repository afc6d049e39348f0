"""New modules that may stand in a network beside its parent's."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.blocks import block_kind
from distilnas.errors import UsageError
from distilnas.networks.layouts import Layout
from distilnas.space import Cell


class MappedPart(nn.Module):
    """A new part that ends in a linear ``map`` of channels, which a closed form can fit to what the parent's gives."""

    map: nn.Conv2d | nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """See the classes."""
        return self.map(self.read(x))

    def read(self, x: Tensor) -> Tensor:
        """What the map reads when ``x`` comes in."""
        raise NotImplementedError

    def layers_before(self) -> Sequence[nn.Module]:
        """What stands before the map, in order."""
        return ()


class LinearMap(MappedPart):
    """One linear map of the channels at every place, after average pooling by ``stride``: the cheapest block.

    (B, ..., in) -> (B, ..., out) in ``layout``; prefix tokens are mapped like the others. Of tokens, ``grid`` is the
    input's (height, width). A last window that is not full is averaged over what it has, so that sizes are rounded up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        layout: Layout | None = None,
        grid: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, stride, *grid)
        if len(sizes) != 5 or not all(type(size) is int and size > 0 for size in sizes):
            raise UsageError(f"a linear part has positive whole channels, stride and grid, got {sizes}.")
        self.layout, self.grid, self.stride = layout or Layout(), grid, stride
        if self.layout.kind == "nchw":
            self.map = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.map = nn.Linear(in_channels, out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels

    def read(self, x: Tensor) -> Tensor:
        """``x`` averaged over places, in its layout."""
        if self.stride == 1:
            return x
        if self.layout.kind == "nchw":
            return self._pool(x)
        if self.layout.kind == "nhwc":
            return self._pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        prefix = x[:, : self.layout.prefix]
        grid = self._pool(x[:, self.layout.prefix :].transpose(1, 2).unflatten(2, self.grid))
        return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)

    def _pool(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)


class NewCell(MappedPart):
    """A ``cell`` of new layers as block-wise distillation trains them, then a 1x1 convolution to the parent's channels.

    (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride), sizes rounded up.
    """

    def __init__(self, cell: Cell, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if cell.stem or not all(type(size) is int and size > 0 for size in (in_channels, out_channels)):
            raise UsageError(
                f"a cell in a block's place has no stem and positive whole channels around it, got {cell} between "
                f"{in_channels} and {out_channels}."
            )
        drop_paths = iter([0.0] * cell.droppable)
        (self.layers,) = (
            block_kind(cell.kind).build(cell, in_channels, norm_layer=nn.BatchNorm2d, drop_paths=drop_paths).stages
        )
        self.map = nn.Conv2d(cell.width, out_channels, 1)
        self.cell, self.in_channels, self.out_channels = cell, in_channels, out_channels

    def read(self, x: Tensor) -> Tensor:
        """What the cell makes of ``x``."""
        return self.layers(x)

    def layers_before(self) -> Sequence[nn.Module]:
        """The cell's."""
        return tuple(self.layers)


class PooledClassifier(nn.Module):
    """A new head: the average over all places, prefix tokens left out, and one linear layer."""

    def __init__(self, in_channels: int, num_classes: int, *, layout: Layout | None = None) -> None:
        super().__init__()
        if not all(type(size) is int and size > 0 for size in (in_channels, num_classes)):
            raise UsageError(f"a classifier has positive whole sizes, got {in_channels} and {num_classes}.")
        self.layout = layout or Layout()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_classes) logits of what the last part gives out."""
        return self.fc(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """(B, in_channels)"""
        if self.layout.kind == "tokens":
            return x[:, self.layout.prefix :].mean(1)
        return x.mean((2, 3) if self.layout.kind == "nchw" else (1, 2))
