"""Expected pixels are worked out by hand from the pixel values written into the files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distilnas.data.decoding import in_threads, problem, to_rgb


def _rgb(image: Image.Image) -> np.ndarray:
    result = to_rgb(image)
    assert result.mode == "RGB"
    return np.asarray(result)


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return _rgb(image)


def _problem(file: Path) -> str | None:
    return problem(lambda: Image.open(file))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535], [128, 129, 300, 40000]], dtype=np.uint16)
    file = tmp_path / f"gray.{suffix}"
    Image.fromarray(values).save(file)
    expected = [[0, 1, 128, 255], [0, 1, 1, 156]]  # value / 257, rounded
    pixels = _read(file)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], expected)


def test_integers_beyond_16_bits_and_floats_have_no_white_level() -> None:
    with pytest.raises(ValueError, match=r"0\.\.65535, found 0\.\.70000"):
        to_rgb(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))
    with pytest.raises(ValueError, match="floating-point"):
        to_rgb(Image.fromarray(np.zeros((2, 2), dtype=np.float32)))


def test_alpha_is_composited_onto_white() -> None:
    red_in_three_strengths = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [255, 0, 0, 51]]], dtype=np.uint8)
    # white * (1 - alpha) + red * alpha, with alpha 0, 1, 0.2
    np.testing.assert_array_equal(
        _rgb(Image.fromarray(red_in_three_strengths)), [[[255, 255, 255], [255, 0, 0], [255, 204, 204]]]
    )
    gray_alpha = np.array([[[0, 0], [0, 255]]], dtype=np.uint8)
    np.testing.assert_array_equal(_rgb(Image.fromarray(gray_alpha, mode="LA")), [[[255] * 3, [0] * 3]])


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    np.testing.assert_array_equal(_rgb(palette), [[[10, 20, 30], [40, 50, 60]]])
    palette.save(tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(_read(tmp_path / "p.png"), [[[255, 255, 255], [40, 50, 60]]])


def test_cmyk_bilevel_and_gray() -> None:
    assert _rgb(Image.new("CMYK", (1, 1), (0, 255, 255, 0))).tolist() == [[[255, 0, 0]]]
    assert _rgb(Image.new("1", (1, 1), 1)).tolist() == [[[255, 255, 255]]]
    assert _rgb(Image.new("L", (1, 1), 77)).tolist() == [[[77, 77, 77]]]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(_read(tmp_path / "turned.png"), np.rot90(pixels, k=-1))


def test_problem_finds_every_kind_of_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for suffix in ("jpg", "png", "webp"):
        good, cut = tmp_path / f"good.{suffix}", tmp_path / f"cut.{suffix}"
        noise.save(good)
        cut.write_bytes(good.read_bytes()[:-200])
        assert _problem(good) is None
        assert _problem(cut), suffix
    (tmp_path / "text.jpg").write_text("no image")
    assert "UnidentifiedImageError" in str(_problem(tmp_path / "text.jpg"))
    assert "FileNotFoundError" in str(_problem(tmp_path / "missing.jpg"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "more than max_pixels" in str(_problem(tmp_path / "good.png"))


def test_in_threads_keeps_the_order_beyond_one_chunk() -> None:
    assert list(in_threads(lambda x: x * x, range(2500))) == [x * x for x in range(2500)]
