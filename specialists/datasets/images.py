"""How does a folder of images become a data set? Every folder in it is a class.

    FOLDER/cat/*.png  FOLDER/dog/*.jpg                 the splits are cut here
    FOLDER/train/cat/*.png  FOLDER/test/cat/*.png      as given; ``val`` or ``validation`` alike

Pictures are resampled to ``data.image_size`` (default 32) pixels a side; grey if no file has
colour, RGB otherwise. :mod:`specialists.datasets.class_folders` says which files are used.
"""

from __future__ import annotations

import numpy as np

from specialists.config import DataConfig
from specialists.datasets.assembly import Rows, assemble
from specialists.datasets.base import Dataset
from specialists.datasets.class_folders import list_class_folders
from specialists.datasets.classes import classes_of, labels_left_out
from specialists.datasets.naming import existing
from specialists.datasets.pictures import read_pictures
from specialists.errors import DataError

IMAGE_SIZE = 32


def load_images(config: DataConfig, seed: int) -> Dataset:
    """The data set of ``config.images``.

    Raises
    ------
    DataError
        No such folder, no images in class folders, unreadable images, or splits that cannot be
        made.
    """
    folder = existing(str(config.images), "folder")
    if not folder.is_dir():
        raise DataError("not a folder", where=folder, expected="one folder a class")
    listing = list_class_folders(folder)
    classes = classes_of(listing.labels, folder)
    excluded, left_out = labels_left_out(classes, config.exclude_labels, folder)
    used = np.flatnonzero(~excluded)
    paths = [listing.paths[i] for i in used.tolist()]
    side = config.image_size or IMAGE_SIZE
    pictures = read_pictures(paths, (side, side))
    rows = Rows(
        raw=pictures.pixels,
        labels=classes.labels[used],
        names=classes.names,
        given=listing.given[used],
        notes=(*listing.notes, *classes.notes, *left_out, *pictures.notes),
        texts=[path.relative_to(folder).as_posix() for path in paths],
    )
    size = {"channels": pictures.pixels.shape[1], "height": side, "width": side}
    name = folder.resolve().name
    return assemble(rows, config, seed, name, {"kind": "images", **size}, {"images": name})
