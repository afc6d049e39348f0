"""The modules of ``cell``: a stem where it has one, and its layers."""

from collections.abc import Iterator

from torch import nn

from distilnas.blocks.common import NormLayer, conv_norm_act
from distilnas.blocks.layers import make_layer
from distilnas.blocks.parts import Parts, Piece, Pieces
from distilnas.space import Cell, CellSpec, FixedLayer, Stem


def build(cell: Cell, in_width: int, *, norm_layer: NormLayer, drop_paths: Iterator[float]) -> Parts:
    """The stem's fixed layers are a stage of their own."""
    if cell.stem is None:
        adapter = (nn.Conv2d(in_width, cell.enter, 1),) if cell.enter else ()
        layers = _layers(cell.layers, cell.enter or in_width, norm_layer, drop_paths)
        return Parts(stages=(nn.Sequential(*adapter, *layers),))
    stem = stem_convolution(cell.stem, in_width, norm_layer)
    fixed = _layers(cell.stem.layers, cell.stem.width, norm_layer, drop_paths)
    own = _layers(cell.layers, cell.stem.out_width, norm_layer, drop_paths)
    return Parts(stem=stem, stages=(fixed, own) if cell.stem.layers else (own,))


def pieces(spec: CellSpec, in_width: int, *, stride: int, num_classes: int) -> Pieces:
    """The stem as a whole, then each op of each layer."""
    fixed, width = (), in_width
    if spec.stem is not None:
        stem = spec.stem
        fixed, width = (Piece(key=(stem, in_width), build=lambda: make_stem(stem, in_width)),), stem.out_width
    axes: list[tuple[Piece, ...]] = []
    for number, ops in enumerate(spec.layers):
        layer_stride = 1 if number else spec.first_stride(stride)
        axes.append(tuple(_piece(FixedLayer(op=op, width=spec.width, stride=layer_stride), width) for op in ops))
        width = spec.width
    return Pieces(fixed=fixed, axes=tuple(axes))


def stem_convolution(stem: Stem, in_chans: int, norm_layer: NormLayer) -> tuple[nn.Module, nn.Module]:
    """Its 3x3 convolution, and norm with activation."""
    return conv_norm_act(in_chans, stem.width, kernel=3, stride=stem.stride, act=stem.act, norm_layer=norm_layer)


def make_stem(stem: Stem, in_chans: int, *, norm_layer: NormLayer = nn.BatchNorm2d) -> nn.Sequential:
    """The whole stem: images (B, in_chans, R, R) -> (B, stem.out_width, R / reduction, R / reduction)."""
    convolution = stem_convolution(stem, in_chans, norm_layer)
    return nn.Sequential(*convolution, *_layers(stem.layers, stem.width, norm_layer, iter([0.0] * len(stem.layers))))


def _layers(
    layers: tuple[FixedLayer, ...], width: int, norm_layer: NormLayer, drop_paths: Iterator[float]
) -> nn.Sequential:
    built = []
    for layer in layers:
        drop_path = next(drop_paths)
        built.append(make_layer(layer.op, width, layer.width, layer.stride, norm_layer=norm_layer, drop_path=drop_path))
        width = layer.width
    return nn.Sequential(*built)


def _piece(layer: FixedLayer, in_width: int) -> Piece:
    return Piece(key=(layer, in_width), build=lambda: make_layer(layer.op, in_width, layer.width, layer.stride))
