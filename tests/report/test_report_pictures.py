"""Maps and images as PNG: what a browser would decode."""

import base64
import io
import json

import numpy as np
from PIL import Image
from report_sample import SHOWN, small_space, write_sample_run

from distilnas.records.features import read_features
from distilnas.report.pictures import block_pictures, map_uri, picture_uri

# plotly's Viridis, from its documentation: first and last colour
LOW, HIGH = (68, 1, 84), (253, 231, 37)


def decoded(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_values_run_from_dark_to_bright_and_are_cut_at_the_limits() -> None:
    pixels = decoded(map_uri(np.array([[-5.0, 0.0], [1.0, 9.0]]), 0.0, 1.0))
    assert pixels.shape == (2, 2, 3)
    assert [tuple(p) for p in pixels.reshape(4, 3)] == [LOW, LOW, HIGH, HIGH]


def test_brightness_rises_with_the_value() -> None:
    row = decoded(map_uri(np.linspace(0, 1, 40)[None], 0.0, 1.0))[0].astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(row) >= -1).all()
    assert row[-1] > row[0] + 150


def test_constant_and_unknown_values_are_drawn() -> None:
    assert len(np.unique(decoded(map_uri(np.full((3, 3), 2.0), 2.0, 2.0)).reshape(-1, 3), axis=0)) == 1
    assert tuple(decoded(map_uri(np.array([[np.nan, 1.0]]), 0.0, 1.0))[0, 0]) == LOW


def test_large_maps_and_images_are_made_smaller() -> None:
    assert decoded(map_uri(np.zeros((112, 112)), 0.0, 1.0)).shape == (56, 56, 3)
    assert decoded(picture_uri(np.zeros((600, 600, 3), dtype=np.uint8))).shape == (112, 112, 3)
    small = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(decoded(picture_uri(small)), small)


def test_student_is_drawn_on_the_teachers_scale(tmp_path) -> None:
    run = write_sample_run(tmp_path / "run", small_space())
    features = read_features(run / "features", None)
    assert features is None, "without a solution there is nothing to show"
    architecture = json.loads((run / "features" / "features.json").read_text())["architecture"]
    features = read_features(run / "features", architecture)
    assert features is not None
    features.arrays["3/block"][:] = features.arrays["3/teacher"]
    low, high = np.percentile(features.arrays["3/teacher"][:, 0], (1, 99))
    features.arrays["3/assembled"][:, 0] = (low + high) / 2
    features.arrays["3/assembled"][:, 1:] = features.arrays["3/teacher"].max() + 1
    (block,) = block_pictures(features)
    assert [head.channel for head in block.channels] == features.arrays["3/channels"].tolist()
    assert [image.name for image in block.images] == list(SHOWN)
    for image in block.images:
        assert image.maps["block"] == image.maps["teacher"]
        assert (decoded(image.maps["assembled"][0]) == decoded(map_uri(np.array([[0.5]]), 0.0, 1.0))).all()
        assert all((decoded(uri) == HIGH).all() for uri in image.maps["assembled"][1:])
