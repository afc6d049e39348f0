"""The architecture of a shrinking supernet: one vector a_v for every node v of every cell, all in one padded tensor.

    w_i = relu(a_i) / max(sum_j relu(a_j), 1e-8)    over the candidates of the node that are alive

A candidate whose weight falls below the node's threshold is deleted for good. The weights do not change when a_v is
scaled, so a_v is orthogonal to its gradient, and gradient descent without momentum never shortens it. The largest of n
weights is at least 1 / n, above the threshold of 0.15 / n, so a node never loses all its inputs; that holds after any
steps, since the largest entry of a node is kept above 0.
"""

import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.space.darts.space import NODES, DartsSpace

START = 2.0
_GUARD = 1e-8
_LEAST = 1e-3  # of the largest entry of a node, so that the node always has an input of some weight


class Choices(nn.Module):
    """``a`` (rows, columns) of ``space``, and which candidates are ``alive``; both are 0 where there is no candidate.

    Raises ``UsageError`` for a space with the op ``none``: leaving candidates out is what deletion does.
    """

    exists: Tensor
    alive: Tensor
    thresholds: Tensor

    def __init__(self, space: DartsSpace) -> None:
        super().__init__()
        if "none" in space.primitives:
            raise UsageError(
                "a supernet that shrinks deletes its candidates and has no use for the op 'none'; leave it out of the "
                "primitives (set darts7 instead of darts8)."
            )
        sizes = torch.tensor([len(node) for node in space.candidates]).repeat(space.num_cells)
        exists = torch.arange(space.columns) < sizes[:, None]
        self.a = nn.Parameter(START * exists)
        self.register_buffer("exists", exists, persistent=False)
        self.register_buffer("alive", exists.clone())
        self.register_buffer("thresholds", threshold(sizes)[:, None], persistent=False)
        assert len(sizes) == space.num_cells * NODES

    def gates(self) -> Tensor:
        """relu(a) of the living, (rows, columns), 0 elsewhere."""
        return self.a.relu() * self.alive

    def weights(self) -> Tensor:
        """w, (rows, columns); rows sum to 1, and what is not alive has 0 and gets no gradient."""
        gates = self.gates()
        return gates / gates.sum(dim=1, keepdim=True).clamp_min(_GUARD)

    @torch.no_grad()
    def delete(self) -> list[list[int]]:
        """Delete what is below its node's threshold, so never the largest of a node; returns [row, column] of each."""
        largest = self.a.masked_fill(~self.alive, float("-inf")).argmax(dim=1, keepdim=True)
        self.a.scatter_(1, largest, self.a.gather(1, largest).clamp_min(_LEAST))
        dead = self.alive & (self.weights() < self.thresholds)
        self.alive &= ~dead
        return dead.nonzero().tolist()

    @torch.no_grad()
    def soften(self, by: float) -> None:
        """a := max(0, a - by), the proximal step of ``by`` times the L1 norm on gates that are not negative."""
        self.a.sub_(by).relu_()

    def deleted(self) -> list[list[int]]:
        """[row, column] of all that were deleted so far."""
        return (self.exists & ~self.alive).nonzero().tolist()

    @property
    def exhausted(self) -> bool:
        """Whether every node has a single candidate left."""
        return bool((self.alive.sum(dim=1) == 1).all())


def threshold(candidates: Tensor) -> Tensor:
    """Weight below which one of so many candidates of a node is deleted: min(0.01, 0.15 / n).

    The authors' 0.01 up to 15 candidates, the most that their three ops give; the same share of 1 / n above.
    """
    return (0.15 / candidates).clamp_max(0.01)
