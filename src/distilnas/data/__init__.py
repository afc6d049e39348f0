"""Image sets, splits, transforms and loaders for everything that is trained or rated."""

from distilnas.data.checking import CHECKS, Splits
from distilnas.data.cifar import read_cifar
from distilnas.data.folders import has_classes, read_folder, read_image_data, read_unlabelled
from distilnas.data.given import given_images, is_given, is_prepared
from distilnas.data.huggingface import read_hf
from distilnas.data.imageset import ImageSet
from distilnas.data.loaders import Loader, make_loader
from distilnas.data.readers import ImageReader
from distilnas.data.samples import digits
from distilnas.data.splits import DataSplits, make_splits, split
from distilnas.data.synthetic import synthetic
from distilnas.data.tars import read_tar
from distilnas.data.transforms import (
    Augmentation,
    Preprocessing,
    as_given,
    eval_transform,
    preprocessing_of,
    train_transform,
)
from distilnas.data.webdataset import read_wds

__all__ = [
    "CHECKS",
    "Augmentation",
    "DataSplits",
    "ImageReader",
    "ImageSet",
    "Loader",
    "Preprocessing",
    "Splits",
    "as_given",
    "digits",
    "eval_transform",
    "given_images",
    "has_classes",
    "is_given",
    "is_prepared",
    "make_loader",
    "make_splits",
    "preprocessing_of",
    "read_cifar",
    "read_folder",
    "read_hf",
    "read_image_data",
    "read_tar",
    "read_unlabelled",
    "read_wds",
    "split",
    "synthetic",
    "train_transform",
]
