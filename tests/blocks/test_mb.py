"""``mb`` keeps the contract of layers; what it computes is in test_layers.py."""

from layer_contract import LayerContract

from distilnas.space import MBConv


class TestMBConv(LayerContract):
    kind = "mb"
    ops = (
        MBConv(kernel=3, expansion=6, se=0.25, act="silu"),
        MBConv(kernel=5, expansion=1, act="relu"),
        MBConv(kernel=3, expansion=2, act="relu"),
    )
