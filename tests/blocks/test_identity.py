"""``id`` keeps the contract of layers."""

from layer_contract import LayerContract

from distilnas.space import Identity


class TestIdentity(LayerContract):
    kind = "id"
    ops = (Identity(),)
