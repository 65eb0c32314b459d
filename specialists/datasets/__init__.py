"""What a data set is, where data sets come from, and how new inputs are encoded alike."""

from specialists.datasets.base import Dataset, Inputs, NamedTensors, Ragged, Split
from specialists.datasets.encoding import check_preprocessing, encode
from specialists.datasets.load import available, load_dataset
from specialists.datasets.storage import load_dataset_folder, save_dataset
from specialists.datasets.unlabelled import read_unlabelled

__all__ = [
    "Dataset",
    "Inputs",
    "NamedTensors",
    "Ragged",
    "Split",
    "available",
    "check_preprocessing",
    "encode",
    "load_dataset",
    "load_dataset_folder",
    "read_unlabelled",
    "save_dataset",
]
