"""How a network lays a feature map out: (B, C, H, W), (B, H, W, C), or a sequence of tokens, and ways between them.

A student of our ops is convolutional and sees (B, C, H, W) always; parts of a teacher keep its layout. A token
sequence (B, P + H W, C) holds the H x W grid row by row, after P prefix tokens (class, distillation, registers) that
belong to no place in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from distilnas.errors import UsageError, nearest

Kind = Literal["nchw", "nhwc", "tokens"]
_KINDS = ("nchw", "nhwc", "tokens")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """``kind`` of a feature map; ``prefix`` tokens stand before the grid (0 unless "tokens")."""

    kind: Kind = "nchw"
    prefix: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise UsageError(f"layout {self.kind!r} of a feature is unknown: {nearest(str(self.kind), _KINDS)}")
        if not isinstance(self.prefix, int) or self.prefix < 0 or (self.prefix and self.kind != "tokens"):
            raise UsageError(f"only tokens have a prefix, a whole number from 0 up, got {self.prefix} ({self.kind}).")

    def grid(self, shape: Sequence[int]) -> tuple[int, int]:
        """(H, W) of a feature of ``shape`` (without batch); tokens are taken for a square where they are one, else for
        a row."""
        if self.kind == "nchw":
            return shape[1], shape[2]
        if self.kind == "nhwc":
            return shape[0], shape[1]
        places = shape[0] - self.prefix
        side = round(places**0.5)
        return (side, side) if side * side == places else (places, 1)

    def to_map(self, output: Tensor, grid: tuple[int, int]) -> Tensor:
        """``output`` in this layout as (B, C, H, W), contiguous, on the ``grid`` (H, W); prefix tokens are left out."""
        if self.kind == "nhwc":
            return output.permute(0, 3, 1, 2).contiguous()
        if self.kind == "tokens":
            return output[:, self.prefix :].transpose(1, 2).unflatten(2, grid).contiguous()
        return output

    def from_map(self, feature: Tensor, prefix: Tensor | None = None) -> Tensor:
        """The inverse of ``to_map``: ``feature`` (B, C, H, W) in this layout, a tensor of its own.

        ``prefix`` (B, P, C) are the prefix tokens; needed where the layout has some.
        """
        if self.kind == "nhwc":
            return feature.permute(0, 2, 3, 1).contiguous()
        if self.kind == "tokens":
            tokens = feature.flatten(2).transpose(1, 2)
            if self.prefix:
                assert prefix is not None
                return torch.cat([prefix.to(tokens.dtype), tokens], dim=1)
            return tokens.contiguous()
        return feature.clone()
