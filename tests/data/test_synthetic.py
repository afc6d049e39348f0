import numpy as np
import pytest

from distilnas.data.synthetic import synthetic
from distilnas.errors import UsageError


def _pixels(seed: int = 0, images: int = 40, classes: int = 4, resolution: int = 16) -> np.ndarray:
    made = synthetic(seed=seed, images=images, classes=classes, resolution=resolution)
    return np.stack([np.asarray(made.pil(i)) for i in range(images)]).astype(np.float64)


def test_shape_labels_and_classes() -> None:
    images = synthetic(seed=0, images=7, classes=3, resolution=20)
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len(images.classes) == 3
    assert images.pil(0).size == (20, 20)


def test_an_image_depends_on_seed_and_number_alone() -> None:
    base = _pixels()
    np.testing.assert_array_equal(_pixels(), base)
    np.testing.assert_array_equal(_pixels(images=12), base[:12])
    assert np.abs(_pixels(seed=1) - base).mean() > 10
    assert len({image.tobytes() for image in base}) == 40


def test_classes_can_be_told_apart() -> None:
    """The nearest class mean, of the first half, recognises the second half."""
    pixels, labels = _pixels().reshape(40, -1), np.arange(40) % 4
    means = np.stack([pixels[:20][labels[:20] == label].mean(0) for label in range(4)])
    distances = ((pixels[20:, None] - means) ** 2).sum(-1)
    np.testing.assert_array_equal(distances.argmin(1), labels[20:])


def test_a_set_of_imagenets_size_is_no_burden() -> None:
    images = synthetic(seed=0, images=1_281_167, classes=1000)
    assert images.class_counts.max() == 1282  # 1,281,167 / 1000, rounded up
    assert images.subset(range(1_000_000, 1_000_002)).pil(1).size == (224, 224)


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"images": 19}, {"resolution": 0}])
def test_messages(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least 2 classes, 2 images a class and 1 pixel"):
        synthetic(seed=0, **wrong)
