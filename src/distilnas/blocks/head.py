"""The modules of ``head``."""

from collections.abc import Iterator

from timm.layers import create_classifier
from torch import nn

from distilnas.blocks.common import NormLayer, conv_norm_act
from distilnas.blocks.parts import Parts, Piece, Pieces
from distilnas.space import Head


def build(head: Head, in_width: int, *, norm_layer: NormLayer, drop_paths: Iterator[float]) -> Parts:
    """Pooling and classifier are the network's."""
    return Parts(head=head_convolution(head, in_width, norm_layer))


def pieces(head: Head, in_width: int, *, stride: int, num_classes: int) -> Pieces:
    """All of it, with the classifier."""

    def whole() -> nn.Module:
        pool, classifier = create_classifier(head.width, num_classes)  # type: ignore[misc]
        return nn.Sequential(*head_convolution(head, in_width, nn.BatchNorm2d), pool, classifier)

    return Pieces(fixed=(Piece(key=(head, in_width, num_classes), build=whole),))


def head_convolution(head: Head, in_width: int, norm_layer: NormLayer) -> tuple[nn.Module, nn.Module]:
    """Its 1x1 convolution, and norm with activation."""
    return conv_norm_act(in_width, head.width, kernel=1, stride=1, act=head.act, norm_layer=norm_layer)
