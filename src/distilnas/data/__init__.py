"""Image sets, splits, transforms and loaders for everything that is trained or rated."""

from distilnas.data.folders import Splits, read_folder, read_image_data
from distilnas.data.imageset import ImageSet
from distilnas.data.loaders import Loader, make_loader
from distilnas.data.samples import digits
from distilnas.data.splits import DataSplits, make_splits, split
from distilnas.data.transforms import Augmentation, Preprocessing, eval_transform, train_transform

__all__ = [
    "Augmentation",
    "DataSplits",
    "ImageSet",
    "Loader",
    "Preprocessing",
    "Splits",
    "digits",
    "eval_transform",
    "make_loader",
    "make_splits",
    "read_folder",
    "read_image_data",
    "split",
    "train_transform",
]
