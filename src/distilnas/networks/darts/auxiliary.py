"""The auxiliary head: a second classifier on an inner cell, for training only."""

from torch import Tensor, nn
from torch.nn import functional

_POOL = 5


class AuxiliaryHead(nn.Module):
    """(B, in_width, H, W) -> logits (B, num_classes): ReLU, average pool 5, 1x1 to 128, 2x2 to 768, linear.

    ``cifar`` pools with stride 3 (8x8 -> 2x2) and has a batch norm after both convolutions; ``imagenet`` pools with
    stride 2 (7x7 -> 2x2) and has none after the second, as in the released code of DARTS. That code takes no other
    sizes; here smaller maps are pooled adaptively to 2x2, and what larger ones leave is averaged before the classifier.
    """

    def __init__(self, kind: str, in_width: int, num_classes: int) -> None:
        super().__init__()
        self.stride = 3 if kind == "cifar" else 2
        self.conv1 = nn.Conv2d(in_width, 128, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 768, 2, bias=False)
        self.bn2 = nn.BatchNorm2d(768) if kind == "cifar" else nn.Identity()
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int) -> None:
        """A new linear layer where the convolutions are; 0 classes: none (the features come out)."""
        like = {"device": self.conv2.weight.device, "dtype": self.conv2.weight.dtype}
        self.classifier = nn.Linear(768, num_classes, **like) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(self._pool(functional.relu(x)))))
        x = functional.relu(self.bn2(self.conv2(x)))
        return self.classifier(x.mean(dim=(2, 3)))

    def _pool(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < _POOL + self.stride:
            return functional.adaptive_avg_pool2d(x, 2)
        return functional.avg_pool2d(x, _POOL, stride=self.stride)
