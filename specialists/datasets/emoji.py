"""Short names of emoji in 167 locales: which emoji is this the name of?

The names are those of Unicode's CLDR annotations (48.2, Unicode-3.0). What ships are people and
hands in each skin tone, the flags of countries and clock faces: 1,081 classes; ``data/README.md``
says how these rows were taken from those of all 4,342 emoji and symbols. An emoji in a language is
one observation, whatever its locales; the column ``split`` keeps these together.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from specialists.config import DataConfig
from specialists.datasets.base import Dataset
from specialists.datasets.labelled_tables import load_table

ROWS = Path(__file__).with_name("emoji_names.tsv.gz")
LABEL, GROUPS = "emoji", ("emoji", "language")


def load_emoji(config: DataConfig, seed: int) -> Dataset:
    """The rows that ship, read as the table that they are; another label or groups if named."""
    columns = {"label": config.label or LABEL, "groups": config.groups or GROUPS}
    table = config.model_copy(update={"name": None, "table": str(ROWS), **columns})
    return replace(load_table(table, seed), name="emoji")
