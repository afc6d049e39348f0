"""The network of a ``DartsArchitecture``, with timm's methods.

Parameter names: ``stem0``, ``stem1``, ``cells.K`` (K is the place in the full network; dead cells are missing),
``auxiliary``, ``classifier``.
"""

from typing import Any

from timm.layers import create_classifier
from torch import Tensor, nn
from torch.nn import functional

from distilnas.errors import UsageError
from distilnas.networks.darts.auxiliary import AuxiliaryHead
from distilnas.networks.darts.cell import Cell
from distilnas.networks.darts.stems import make_stems
from distilnas.space.darts import DartsArchitecture, auxiliary_cell, plan_cells


class DartsNet(nn.Module):
    """Network of a ``DartsArchitecture``: images (B, in_chans, R, R) -> logits (B, num_classes).

    After the released code of DARTS (Liu et al., ICLR 2019) and, where cells differ, of DNAD (Rao et al., arXiv
    2504.20080). Weights are initialised as torch initialises them. Differences: any image size is taken; a cell that
    nothing reads is removed without moving its neighbours (``space.darts.plan``).

    Args:
        drop_rate: dropout before the classifier.
        drop_path_rate: see the property of this name.
        auxiliary: build the auxiliary head. ``forward`` never runs it; ``forward_with_auxiliary`` does.
    """

    def __init__(
        self,
        architecture: DartsArchitecture,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.student_config: dict[str, Any] = {}  # as in StudentNet
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        plans = plan_cells(architecture)
        self.stem0, self.stem1 = make_stems(architecture.stem, in_chans, architecture.width)
        self.cells = nn.ModuleDict({str(plan.index): Cell(plan) for plan in plans})
        inner = auxiliary_cell(plans, architecture.num_cells)
        self.auxiliary_index = inner.index
        self.auxiliary = AuxiliaryHead(architecture.stem, inner.out_width, num_classes) if auxiliary else None
        self.feature_info = feature_info(architecture)
        self.num_features = self.head_hidden_size = plans[-1].out_width
        pool, classifier = create_classifier(self.num_features, num_classes, pool_type=global_pool)  # type: ignore[misc]
        self.global_pool, self.classifier = pool, classifier
        self.drop_path_rate = drop_path_rate

    @property
    def drop_path_rate(self) -> float:
        """Probability that an op's output is dropped for a sample in training; the same everywhere.

        DARTS raises it linearly over the epochs (p = p_max * epoch / epochs): the trainer sets it.
        """
        return self._drop_path_rate

    @drop_path_rate.setter
    def drop_path_rate(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise UsageError(f"drop_path_rate must be from 0 up to 1, got {rate}.")
        self._drop_path_rate = rate
        for cell in self.cells.values():
            cell.drop_path.drop_prob = rate  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and auxiliary logits, both (B, num_classes), for the training loss.

        Raises ``UsageError`` for a network that was built without the auxiliary head.
        """
        if self.auxiliary is None:
            raise UsageError("the network has no auxiliary head; build it with auxiliary=True.")
        last, inner = self._forward_cells(x)
        return self.forward_head(last), self.auxiliary(inner)

    def forward_features(self, x: Tensor) -> Tensor:
        """The last cell's map (B, num_features, h, w)."""
        return self._forward_cells(x)[0]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pooling, dropout and classifier; ``pre_logits`` stops before the classifier."""
        x = self.global_pool(x)
        if self.drop_rate:
            x = functional.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.classifier(x)

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """New classifiers, main and auxiliary, for ``num_classes`` (0: none)."""
        weight = next(self.parameters())
        pool, classifier = create_classifier(self.num_features, num_classes, pool_type=global_pool)  # type: ignore[misc]
        self.num_classes = num_classes
        self.global_pool, self.classifier = pool, classifier.to(weight)
        if self.auxiliary is not None:
            self.auxiliary.reset_classifier(num_classes)

    def _forward_cells(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the last cell and of the auxiliary head's cell."""
        before: Tensor | None = self.stem0(x)
        previous: Tensor | None = self.stem1(before)
        inner = previous
        for k in range(self.architecture.num_cells):
            key = str(k)
            output = self.cells[key](before, previous) if key in self.cells else None
            before, previous = previous, output
            inner = output if k == self.auxiliary_index else inner
        assert previous is not None
        assert inner is not None
        return previous, inner


def feature_info(architecture: DartsArchitecture) -> list[dict[str, Any]]:
    """timm's record of the maps to take features from: the last one of each resolution.

    For the three resolutions of the cells these are where DNAD compares student and teacher.
    """
    ends: dict[int, dict[str, Any]] = {}
    if architecture.stem == "imagenet":
        ends[2] = {"num_chs": architecture.width // 2, "reduction": 2, "module": "stem0.act"}
        ends[4] = {"num_chs": architecture.width, "reduction": 4, "module": "stem0"}
    for plan in plan_cells(architecture):
        ends[plan.reduction] = {
            "num_chs": plan.out_width,
            "reduction": plan.reduction,
            "module": f"cells.{plan.index}",
        }
    return list(ends.values())
