"""Layouts of feature maps: definitions element by element, inverses, and how a shape is read."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilnas.errors import UsageError
from distilnas.networks.layouts import Layout
from distilnas.teachers.layouts import read

SIZES = st.integers(1, 4)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_places_keep_their_values_by_definition(b: int, c: int, h: int, w: int, p: int) -> None:
    tokens = torch.rand(b, p + h * w, c)
    nhwc = torch.rand(b, h, w, c)
    from_tokens = Layout(kind="tokens", prefix=p).to_map(tokens, (h, w))
    from_nhwc = Layout(kind="nhwc").to_map(nhwc, (h, w))
    assert from_tokens.shape == from_nhwc.shape == (b, c, h, w)
    for y in range(h):
        for x in range(w):
            assert torch.equal(from_tokens[:, :, y, x], tokens[:, p + y * w + x])
            assert torch.equal(from_nhwc[:, :, y, x], nhwc[:, y, x])


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (Layout(), (2, 5, 3, 4)),
        (Layout(kind="nhwc"), (2, 3, 4, 5)),
        (Layout(kind="tokens"), (2, 12, 5)),
        (Layout(kind="tokens", prefix=2), (2, 14, 5)),
    ],
)
def test_a_map_goes_back_to_where_it_came_from_as_a_tensor_of_its_own(layout: Layout, shape: tuple[int, ...]) -> None:
    output = torch.rand(shape)
    feature = layout.to_map(output, (3, 4))
    assert feature.shape == (2, 5, 3, 4)
    back = layout.from_map(feature, output[:, : layout.prefix])
    assert torch.equal(back, output)
    kept = feature.clone()
    back.zero_()
    assert torch.equal(feature, kept)


SQUARE, WIDE = (64, 64), (64, 128)


@pytest.mark.parametrize(
    ("shape", "image", "grids", "expected"),
    [
        ((2, 96, 16, 16), SQUARE, [], ((96, 16, 16), Layout())),
        ((2, 16, 16, 96), SQUARE, [], ((96, 16, 16), Layout(kind="nhwc"))),
        ((2, 56, 56, 96), SQUARE, [], ((96, 56, 56), Layout(kind="nhwc"))),  # Swin at 224 px: 56 x 96 is no map
        ((2, 8, 8, 16), WIDE, [], ((8, 8, 16), Layout())),
        ((2, 4, 8, 32), WIDE, [], ((32, 4, 8), Layout(kind="nhwc"))),
        ((2, 3, 17, 64), SQUARE, [], None),  # heads, tokens, width
        ((8, 96, 16, 16), SQUARE, [], None),  # windows in the batch
        ((2, 17, 192), SQUARE, [(4, 4)], ((192, 4, 4), Layout(kind="tokens", prefix=1))),
        ((2, 9, 384), SQUARE, [(2, 2)], ((384, 2, 2), Layout(kind="tokens", prefix=5))),  # class and 4 registers
        ((2, 9, 384), SQUARE, [], ((384, 3, 3), Layout(kind="tokens"))),
        ((2, 33, 192), WIDE, [(4, 8)], ((192, 4, 8), Layout(kind="tokens", prefix=1))),
        ((2, 16, 256), SQUARE, [(14, 14)], ((256, 4, 4), Layout(kind="tokens"))),  # 14, 7, 4 by strides of 2
        ((2, 10, 256), SQUARE, [(14, 14)], None),
        ((2, 1, 256), SQUARE, [(4, 4)], None),  # the class token alone
        ((2, 256), SQUARE, [(4, 4)], None),
    ],
)
def test_shapes_are_read_as_maps(
    shape: tuple[int, ...], image: tuple[int, int], grids: list[tuple[int, int]], expected: tuple | None
) -> None:
    assert read(shape, 2, image, grids) == expected


def test_only_a_cube_is_read_as_the_network_says() -> None:
    assert read((2, 16, 16, 16), 2, SQUARE) == ((16, 16, 16), Layout())
    assert read((2, 16, 16, 16), 2, SQUARE, channels_last=True) == ((16, 16, 16), Layout(kind="nhwc"))
    assert read((2, 96, 16, 16), 2, SQUARE, channels_last=True) == ((96, 16, 16), Layout())


@pytest.mark.parametrize("arguments", [{"kind": "nlc"}, {"prefix": 1}, {"kind": "tokens", "prefix": -1}])
def test_layouts_check_themselves(arguments: dict) -> None:
    with pytest.raises(UsageError):
        Layout(**arguments)
