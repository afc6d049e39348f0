"""Multiply-adds of the guide's teachers: what PyTorch's own counter finds, which counts a multiply-add as two."""

import pytest
import timm
import torch
from test_families import ROWS, Row
from torch.utils.flop_counter import FlopCounterMode

from distilnas.costing import profile

QUICK = {
    "beit_base_patch16_224": "layers called by their weights",
    "cait_xxs24_224": "class attention",
    "csatv2": "products with fixed matrices",
    "eva02_tiny_patch14_224": "rotated queries and keys, weights joined for each call",
    "legacy_xception": "separable convolutions",
    "levit_128s": "convolutions as linear layers, positions kept between calls",
    "maxvit_rmlp_pico_rw_256": "positions from a small network",
    "mvitv2_tiny": "tables of positions times queries",
    "nf_regnet_b0": "weights standardised for each call",
    "resmlp_12_224": "mixing across tokens",
    "swinv2_tiny_window8_256": "cosine attention, layers called by their weights",
    "tresnet_m": "convolution with a fixed filter",
    "xcit_nano_12_p16_224": "attention across channels",
}
MARKED = [pytest.param(row, marks=() if row.model in QUICK else pytest.mark.slow, id=row.model) for row in ROWS]


@pytest.mark.parametrize("row", MARKED)
def test_macs_are_half_of_pytorchs_flops(row: Row) -> None:
    with torch.device("meta"):
        model = timm.create_model(row.model, num_classes=10, **row.arguments)
    model = model.to("meta").eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, row.pixels, row.pixels, device="meta"))
    assert 2 * profile(model, row.pixels).macs == counter.get_total_flops()


@pytest.mark.parametrize(("name", "width"), [("beit_base_patch16_224", 768), ("vit_tiny_patch16_224", 192)])
def test_transformers_at_full_size(name: str, width: int) -> None:
    """196 patches of 768 values; 12 layers of 12 D^2 weights and two products of 197 x 197 x D; the classifier."""
    with torch.device("meta"):
        counts = profile(timm.create_model(name), 224)
    linear = 196 * 768 * width + 12 * 197 * 12 * width**2 + 1000 * width
    assert (counts.macs - counts.attention_macs, counts.attention_macs) == (linear, 12 * 2 * 197**2 * width)
