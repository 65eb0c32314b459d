"""Which data set does a configuration name, and what ships?"""

from __future__ import annotations

from typing import Any

from specialists.datasets.assembly import limit
from specialists.datasets.base import Dataset
from specialists.datasets.files import nearest
from specialists.datasets.gate import hold_out_gate
from specialists.errors import DataError

SOURCES = ("name", "table", "arrays", "images", "factory")


def available() -> dict[str, str]:
    """The data sets that ship, by name, with one line on each."""
    return {
        "languages": "239 languages: which one is this short string from the CLDR (Babel)?",
        "glyphs": "Unicode characters: which one is this 32x32 image from matplotlib's fonts?",
    }


def load_dataset(config: Any, seed: int) -> Dataset:
    """The data set that ``config`` names, built or from the cache.

    Parameters
    ----------
    config : specialists.config.DataConfig
        Exactly one of ``name``, ``table``, ``arrays``, ``images`` and ``factory`` is set.
    seed : int
        Of the splits that are cut here; data sets that ship bring their own, but for the gate.

    Raises
    ------
    DataError
        What is wrong with the data, where, and how to mend it.
    """
    chosen = [source for source in SOURCES if getattr(config, source) is not None]
    if len(chosen) != 1:
        raise DataError(
            "the data need exactly one source",
            got=", ".join(f"data.{source}" for source in chosen) or "none",
            expected="one of " + ", ".join(f"data.{source}" for source in SOURCES),
        )
    dataset = _load(chosen[0], config, seed)
    if config.max_examples:
        dataset = limit(dataset, config.max_examples, seed)
    return hold_out_gate(dataset, config.gate_fraction, seed)


def _load(source: str, config: Any, seed: int) -> Dataset:
    if source == "table":
        from specialists.datasets.tables import load_table

        return load_table(config, seed)
    if source == "arrays":
        from specialists.datasets.arrays import load_arrays

        return load_arrays(config, seed)
    if source == "images":
        from specialists.datasets.images import load_images

        return load_images(config, seed)
    if source == "factory":
        from specialists.datasets.factory import load_factory

        return load_factory(config, seed)
    return _shipped(config)


def _shipped(config: Any) -> Dataset:
    if config.name == "languages":
        from specialists.datasets.languages import load_languages

        return load_languages(config)
    if config.name == "glyphs":
        from specialists.datasets.glyphs import load_glyphs

        return load_glyphs(config)
    near = nearest(config.name, available())
    raise DataError(
        f"no data set {config.name!r} ships",
        expected=", ".join(available()),
        fix=f"did you mean {near!r}?" if near else "set data.table, data.arrays or data.images",
    )
