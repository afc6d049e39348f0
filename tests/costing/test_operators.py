"""Products however they are written, by formula; operations that are refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.costing import count
from distilnas.errors import UsageError


class Written(nn.Module):
    """``forward`` as a function of the image and of one weight of ``shape``."""

    def __init__(self, shape: tuple[int, ...], function) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(shape))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


def macs_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    found = count(module, shape)
    return found.macs, found.attention_macs


N, D = 5, 8  # tokens and their features


@pytest.mark.parametrize(
    ("shape", "function", "expected"),
    [
        ((3, D), functional.linear, N * D * 3),
        ((D, 3), lambda x, w: x @ w, N * D * 3),
        ((D, 3), lambda x, w: torch.einsum("bnd,de->bne", x, w), N * D * 3),
        ((D, 3), lambda x, w: torch.mm(x[0], w)[None], N * D * 3),
        ((D, 3), lambda x, w: torch.baddbmm(x.new_zeros(1), x, w[None]), N * D * 3),
        ((D, 3), lambda x, w: torch.addbmm(x.new_zeros(1), x, w[None])[None], N * D * 3),
        ((D,), lambda x, w: torch.mv(x[0], w)[None], N * D),
        ((D,), lambda x, w: torch.addmv(w[:N], x[0], w)[None], N * D),
        ((D,), lambda x, w: torch.dot(x[0, 0], w)[None], D),
        ((3, D, 1), lambda x, w: functional.conv1d(x.mT, w), N * D * 3),
        ((D, 3, 2), lambda x, w: functional.conv_transpose1d(x.mT, w, stride=2), N * D * 3 * 2),
        ((3, D), lambda x, w: functional.linear(x, functional.normalize(w) * 0.5), N * D * 3),
        ((N, D), lambda x, w: functional.layer_norm(x * w + w, (D,)).softmax(-1), 0),
    ],
)
def test_a_weight_is_counted_where_it_is_multiplied(shape, function, expected):
    assert macs_of(Written(shape, function), (N, D)) == (expected, 0)


class Attention(nn.Module):
    """One head without weights."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            return functional.scaled_dot_product_attention(x, x, x)
        return (x @ x.transpose(1, 2)).softmax(-1) @ x


@pytest.mark.parametrize("fused", [True, False])
def test_attention_is_two_products_of_activations(fused):
    assert macs_of(Attention(fused), (N, D)) == (2 * N * N * D, 2 * N * N * D)


@pytest.mark.parametrize("heads", [1, 4])
def test_multi_head_attention(heads):
    """Queries, keys, values and the projection: 4 N D^2; scores and their use: 2 N^2 D, whatever the heads."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(D, heads, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    assert macs_of(Block(), (N, D)) == (4 * N * D * D + 2 * N * N * D, 2 * N * N * D)


def test_products_with_tables_are_no_attention():
    """Relative positions: queries times a table that is a weight."""
    module = Written((N, D), lambda x, table: x @ x.mT + torch.einsum("bnd,md->bnm", x, table))
    assert macs_of(module, (N, D)) == (2 * N * N * D, N * N * D)


def test_what_is_computed_from_weights_alone_counts_but_is_no_attention():
    """As Swin V2 makes its position bias: for every forward, whatever the image."""
    module = Written((D, D), lambda x, w: x + (w @ w)[:N])
    assert macs_of(module, (N, D)) == (D**3, 0)


def test_convolutions_with_mixed_weights_are_no_attention():
    module = Written((3, D, 1), lambda x, w: functional.conv1d(x.mT, w * x.mean()))
    assert macs_of(module, (N, D)) == (3 * N * D, 0)


class Last(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


@pytest.mark.parametrize(
    ("layer", "gates"),
    [(nn.LSTM(D, 6), 4), (nn.GRU(D, 6), 3), (nn.RNN(D, 6), 1), (nn.LSTM(D, 6, bidirectional=True), 8)],
)
def test_recurrent_layers(layer, gates):
    """For every step and gate a linear map of the input and one of the state; bidirectional: twice the gates."""
    layer.batch_first = True
    assert macs_of(Last(layer), (N, D)) == (N * gates * 6 * (D + 6), 0)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Written((D,), lambda x, w: torch.fft.rfft(x * w).real), "aten._fft_r2c"),
        (Written((N, D), lambda x, w: torch.cdist(x, w[None])), "aten._cdist_forward"),
        (Written((3, D, D), lambda x, w: functional.bilinear(x, x, w)), "aten._trilinear"),
        (Written((D, D), lambda x, w: torch.linalg.inv(w) + x[:, :1]), "aten.linalg_inv_ex"),
    ],
)
def test_operations_without_a_rule_are_refused_by_name(module, name):
    with pytest.raises(UsageError, match=f"cannot count the multiply-adds of the operation {name}") as caught:
        count(nn.Sequential(nn.Linear(D, D), module), (N, D))
    assert "register_flop_formula" in str(caught.value)


def test_an_operation_of_another_library_is_refused():
    """Its name says nothing of what it does."""

    @torch.library.custom_op("distilnas_tests::sum", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return 2 * x

    twice.register_fake(torch.empty_like)
    with pytest.raises(UsageError, match=r"the operation distilnas_tests\.sum"):
        count(Written((1,), lambda x, w: twice(x * w)), (N, D))


def test_the_same_inside_inference_mode():
    with torch.inference_mode():
        assert macs_of(nn.Linear(D, 3), (N, D)) == (3 * N * D, 0)


def test_a_layer_that_is_not_run_costs_nothing():
    assert macs_of(Written((3, D), lambda x, w: x), (N, D)) == (0, 0)
