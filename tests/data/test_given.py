"""Images from the user's own data sets and transforms."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)
from torchvision import transforms as T
from torchvision.models import ResNet18_Weights

from distilnas.data import (
    Augmentation,
    Preprocessing,
    as_given,
    eval_transform,
    given_images,
    is_prepared,
    make_loader,
    preprocessing_of,
    train_transform,
)
from distilnas.data.given import key_of
from distilnas.errors import DistilnasError, UsageError

SIDE, NUMBER = 24, 12
PIXELS = np.random.default_rng(0).integers(0, 256, (NUMBER, SIDE, SIDE, 3), dtype=np.uint8)
LABELS = [i % 3 for i in range(NUMBER)]
INPUTS = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255


class Photos(Dataset):
    """Items as ``form`` makes them of (pixels, label); ``kept``: attributes that some data sets have."""

    def __init__(self, form: Callable[[np.ndarray, int], Any], **kept: Any) -> None:
        self.form = form
        self.__dict__.update(kept)

    def __len__(self) -> int:
        return NUMBER

    def __getitem__(self, i: int) -> Any:
        return self.form(PIXELS[i], LABELS[i])


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(INPUTS, LABELS, strict=True)


def pictures(pixels: np.ndarray, label: int) -> Any:
    return Image.fromarray(pixels), label


def by_name(pixels: np.ndarray, label: int) -> Any:
    return {"image": Image.fromarray(pixels), "label": label}


@pytest.mark.parametrize(
    "data",
    [
        Photos(pictures),
        Photos(by_name),
        Photos(lambda pixels, label: (pixels, torch.tensor(label))),
        Subset(Photos(pictures, targets=LABELS), range(NUMBER)),
        ConcatDataset([Subset(Photos(pictures), range(5)), Subset(Photos(pictures), range(5, NUMBER))]),
        DataLoader(Photos(pictures), batch_size=5, shuffle=True),
        [pictures(PIXELS[i], LABELS[i]) for i in range(NUMBER)],
    ],
    ids=["pillow", "mapping", "pixels", "subset", "concat", "loader", "list"],
)
def test_images_of_every_form(data: Any) -> None:
    images = given_images(data)
    assert images.labels.tolist() == LABELS
    assert images.classes == ("0", "1", "2")
    assert not is_prepared(images)
    assert all(np.array_equal(np.asarray(images.pil(i)), PIXELS[i]) for i in range(NUMBER))


@pytest.mark.parametrize(
    "data",
    [TensorDataset(INPUTS, torch.tensor(LABELS)), Stream(), DataLoader(Stream(), batch_size=5)],
    ids=["tensors", "stream", "loader of a stream"],
)
def test_tensors_are_inputs_as_they_are(data: Any) -> None:
    images = given_images(data)
    assert is_prepared(images)
    batches = make_loader(
        images, eval_transform(as_given(images)), batch_size=5, seed=0, epoch=0, shuffle=False, drop_last=False
    )
    assert torch.equal(torch.cat([x for x, _ in batches]), INPUTS)
    assert torch.equal(torch.cat([y for _, y in batches]), torch.tensor(LABELS))
    with torch.random.fork_rng():
        torch.manual_seed(0)  # some draws leave a small image as it is
        changed = train_transform(as_given(images), Augmentation())(images.raw(0))
    assert changed.shape == (3, SIDE, SIDE)
    assert not torch.equal(changed, INPUTS[0])


def test_only_what_a_sampler_chooses() -> None:
    images = given_images(DataLoader(Photos(pictures), sampler=SubsetRandomSampler([7, 2])))
    assert [images.name_of(i) for i in range(len(images))] == ["item 2", "item 7"]


def test_known_labels_are_not_read_from_images() -> None:
    """One item is read, to see what items are."""
    seen: list[int] = []

    def noted(pixels: np.ndarray, label: int) -> Any:
        seen.append(label)
        return pictures(pixels, label)

    assert given_images(Photos(noted, targets=LABELS)).labels.tolist() == LABELS
    assert len(seen) == 1


def test_names_of_classes() -> None:
    assert given_images(Photos(pictures, classes=["a", "b", "c"])).classes == ("a", "b", "c")
    assert given_images(Subset(Photos(pictures, classes=["a", "b", "c"]), [0])).classes == ("a", "b", "c")
    assert given_images(Photos(pictures), classes=["x", "y", "z", "none here"]).classes[3] == "none here"


def test_a_key_sees_pixels_and_labels_and_nothing_random() -> None:
    flipped = Photos(lambda pixels, label: pictures(pixels[:, ::-1], label))
    other = Photos(lambda pixels, label: pictures(pixels, (label + 1) % 3))
    shaky = Photos(lambda pixels, label: (torch.from_numpy(pixels).permute(2, 0, 1) * torch.rand(1), label))
    assert key_of(given_images(Photos(pictures))) == key_of(given_images(Photos(by_name)))
    assert len({key_of(given_images(data)) for data in (Photos(pictures), flipped, other)}) == 3
    assert key_of(given_images(shaky)) == key_of(given_images(shaky))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Photos(lambda pixels, label: Image.fromarray(pixels)), r"is \(image, label\), got Image"),
        (Photos(lambda pixels, label: {"image": pixels}), r"image and a label, got \['image'\]"),
        (Photos(lambda pixels, label: (Image.fromarray(pixels), "cat")), "number of a class, got 'cat'"),
        (Photos(lambda pixels, label: (INPUTS[0, :1], label)), r"square and of three channels, got .*\(1, 24, 24\)"),
        (Photos(lambda pixels, label: (INPUTS[0, :, :9], label)), r"got .*\(3, 9, 24\)"),
        (Photos(lambda pixels, label: ("photo.jpg", label)), "got str"),
        (Photos(pictures, classes=["one"]), "numbers of its 1 classes, from 0, got 0 to 2"),
        (Subset(Photos(pictures), []), "at least one image"),
    ],
)
def test_refused(data: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        given_images(data)


def test_an_item_that_fails_is_named() -> None:
    images = given_images(Photos(lambda _pixels, label: (torch.rand(3, label + 20, label + 20), label)))
    transform = eval_transform(as_given(images))
    loader = make_loader(images, transform, batch_size=3, seed=0, epoch=0, shuffle=False, drop_last=False)
    with pytest.raises(DistilnasError, match="item 1"):
        list(loader)


def composed(*more: Any) -> Any:
    normalize = T.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
    return T.Compose([T.Resize(24), T.CenterCrop(20), *more, T.ToTensor(), normalize])


@pytest.mark.parametrize(
    ("transform", "resolution"),
    [
        (composed(), 20),
        (T.Compose([T.Resize((16, 16)), T.ToTensor()]), 16),
        (ResNet18_Weights.IMAGENET1K_V1.transforms(crop_size=28, resize_size=32), 28),
    ],
    ids=["compose", "squash", "torchvision"],
)
def test_usual_transforms_are_described(transform: Any, resolution: int) -> None:
    """The described steps (timm's, written independently of the transform) give the transform's own tensors."""
    images = given_images(Photos(pictures))
    pre = preprocessing_of(transform, images)
    assert (pre.own, pre.resolution) == (None, resolution)
    assert torch.allclose(eval_transform(pre)(images.pil(3)), transform(images.pil(3)), atol=1e-5)


def test_other_transforms_are_used_as_they_are() -> None:
    images, transform = given_images(Photos(pictures)), composed(T.Grayscale(3))
    pre = preprocessing_of(transform, images)
    assert pre.own is not None
    assert "Grayscale" in pre.to_dict()["own"]
    assert torch.equal(eval_transform(pre)(images.pil(3)), transform(images.pil(3)))
    assert torch.equal(eval_transform(pre)(PIXELS[3]), transform(images.pil(3)))
    assert train_transform(pre, Augmentation(color_jitter=0.4, crop="padded"))(images.pil(3)).shape == (3, 20, 20)
    read_back = Preprocessing.from_dict(pre.to_dict())
    with pytest.raises(UsageError, match="transform of your own"):
        eval_transform(read_back)


def test_a_step_that_only_looks_usual_is_not_described() -> None:
    """A composition by the names of usual steps, one of which does more."""

    class ToTensor(T.ToTensor):
        def __call__(self, pic: Any) -> torch.Tensor:
            return 1 - super().__call__(pic)

    transform = T.Compose([T.Resize((24, 24)), ToTensor()])
    assert preprocessing_of(transform, given_images(Photos(pictures))).own is not None


def test_a_transform_that_makes_no_input() -> None:
    with pytest.raises(UsageError, match="float"):
        preprocessing_of(T.Compose([T.Resize(8)]), given_images(Photos(pictures)))
