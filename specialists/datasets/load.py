"""Which data set does a configuration name, and what ships?"""

from __future__ import annotations

from typing import Any

from specialists.config import DataConfig
from specialists.datasets.admission_rows import hold_out_admission_rows
from specialists.datasets.arrays import load_arrays
from specialists.datasets.assembly import limit
from specialists.datasets.base import Dataset
from specialists.datasets.emoji import load_emoji
from specialists.datasets.factory import load_factory
from specialists.datasets.glyphs import load_glyphs
from specialists.datasets.image_folders import load_images
from specialists.datasets.in_memory import MEMORY
from specialists.datasets.labelled_tables import load_table
from specialists.datasets.languages import load_languages
from specialists.datasets.naming import did_you_mean
from specialists.datasets.object_rows import load_objects
from specialists.errors import DataError

LOADERS = {"table": load_table, "arrays": load_arrays, "images": load_images}
LOADERS |= {"factory": load_factory}
SOURCES = ("name", *LOADERS)


def available() -> dict[str, str]:
    """The data sets that ship, by name, with one line on each."""
    return {
        "emoji": "1,081 emoji: which one has this short name, in one of 167 locales (CLDR)?",
        "languages": "239 languages: which one is this short string from the CLDR (Babel)?",
        "glyphs": "Unicode characters: which one is this 32x32 image from matplotlib's fonts?",
    }


def load_dataset(config: DataConfig, seed: int, rows: Any = None) -> Dataset:
    """The data set that ``config`` names, built or from the cache; or that of ``rows``.

    Exactly one of ``name``, ``table``, ``arrays``, ``images`` and ``factory`` is set; or none, and
    ``rows`` are a Dataset of PyTorch or Hugging Face, a DataLoader, or a mapping of splits to such.
    The seed is that of the splits that are cut here. Data sets that ship bring their own, but for
    the rows of the admission test.

    Raises
    ------
    DataError
        What is wrong with the data, where, and how to mend it.
    """
    chosen = [source for source in SOURCES if getattr(config, source) is not None]
    if rows is not None:
        chosen.append("rows")
    if len(chosen) != 1:
        got = ", ".join(f"data.{source}" for source in chosen) or "none"
        expected = "one of " + ", ".join(f"data.{source}" for source in SOURCES)
        raise DataError("the data need exactly one source", got=got, expected=expected)
    if rows is not None:
        dataset = load_objects(rows, config, seed, type(rows).__name__)
    elif config.name is not None:
        dataset = _shipped(config, seed)
    else:
        dataset = LOADERS[chosen[0]](config, seed)
    if config.max_examples:
        dataset = limit(dataset, config.max_examples, seed)
    return hold_out_admission_rows(dataset, config.admission_fraction, seed)


def _shipped(config: DataConfig, seed: int) -> Dataset:
    if config.name == "emoji":
        return load_emoji(config, seed)
    loaders = {"languages": load_languages, "glyphs": load_glyphs}
    if config.name == MEMORY:
        what, fix = "the program that made this run held its data in memory", "fit there again"
        raise DataError(what, fix=fix)
    if config.name in loaders:
        return loaders[config.name](config)
    fix = did_you_mean(str(config.name), available())
    fix = fix or "set data.table, data.arrays or data.images"
    raise DataError(f"no data set {config.name!r} ships", expected=", ".join(available()), fix=fix)
