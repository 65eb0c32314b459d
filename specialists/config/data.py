"""Where the examples come from: which settings of ``[data]`` there are."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from specialists.config.fields import (
    FilePath,
    Fraction,
    ImportPath,
    NGrams,
    Options,
    Pixels,
    Positive,
    Section,
    Switch,
)

SOURCES = ("name", "table", "arrays", "images", "factory")


class DataConfig(Section):
    """Where the examples come from. Exactly one source: name, table, arrays, images or factory."""

    name: str | None = Field(default=None, description="a data set that ships: languages, glyphs")
    table: FilePath | None = Field(
        default=None, description="a .tsv, .csv, .jsonl or .parquet file, plain or .gz"
    )
    arrays: FilePath | dict[str, FilePath] | None = Field(
        default=None,
        description="an .npz of features or images and labels, or {x = an .npy, y = another}",
    )
    images: FilePath | None = Field(
        default=None, description="a folder that holds one folder a class"
    )
    factory: ImportPath | None = Field(
        default=None, description="package.module:function that returns a Dataset"
    )
    columns: tuple[str, ...] | None = Field(
        default=None, description="names, if a table has no header"
    )
    text: str | None = Field(default=None, description="name of the text column")
    label: str | None = Field(default=None, description="name of the label column")
    features: tuple[str, ...] | Literal["numeric"] | None = Field(
        default=None, description="columns of numbers in place of a text; numeric: all there are"
    )
    split: str | None = Field(
        default=None, description='split column; None: one of this name, if there is; "": none'
    )
    splits: dict[Literal["train", "validation", "test"], tuple[str, ...]] | None = Field(
        default=None, description="train, validation, test: the values of the split column in each"
    )
    exclude_labels: tuple[str, ...] = Field(
        default=(), description="labels whose rows are left out"
    )
    keys: dict[str, str] | None = Field(
        default=None, description="names of the arrays: x, y or x_train .."
    )
    split_by: Options | None = Field(
        default=None, description="array, and its values for test (and validation)"
    )
    groups: str | None = Field(
        default=None,
        min_length=1,
        description="column or array of what repeats (concept, writer): rows of one value are one "
        "observation, on one side of every split",
    )
    min_examples: Positive = Field(default=20, description="classes with fewer rows are left out")
    validation_fraction: Fraction = Field(
        default=0.1, description="share cut for validation, if missing"
    )
    test_fraction: Fraction = Field(default=0.15, description="share cut for the test, if missing")
    gate_fraction: Fraction = Field(
        default=0.5, description="share of the validation rows kept for the do-no-harm test alone"
    )
    max_examples: Positive | None = Field(
        default=None, description="rows drawn at most, for trying out"
    )
    char_ngrams: NGrams | None = Field(default=None, description="shortest and longest n-gram")
    word_ngrams: NGrams | None = Field(default=None, description="as above, of words; (0, 0) off")
    lowercase: Switch | None = Field(default=None, description="fold case before hashing")
    image_size: Pixels | None = Field(default=None, description="pixels a side")
    standardize: Switch | None = Field(
        default=None,
        description="features: zero mean, unit variance; None: unless generalist.weights are given",
    )
    augment: Switch | None = Field(
        default=None, description="random affine maps, n-gram or feature dropout"
    )
    options: Options = Field(default_factory=dict, description="arguments of the factory")

    @property
    def source(self) -> tuple[str, Any]:
        """Which source is set, and its value."""
        given = [(source, getattr(self, source)) for source in SOURCES]
        return next((pair for pair in given if pair[1] is not None), ("name", ""))

    @model_validator(mode="after")
    def leave_training_data(self) -> DataConfig:
        """The parts that are cut leave something to train on."""
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave no training data")
        return self

    @model_validator(mode="after")
    def one_part_a_value(self) -> DataConfig:
        """No row is in two splits, and texts have n-grams."""
        values = [value for named in (self.splits or {}).values() for value in named]
        twice = [value for i, value in enumerate(values) if value in values[:i]]
        if twice:
            raise ValueError(f"splits names {twice[0]!r} twice")
        if self.char_ngrams == self.word_ngrams == (0, 0):
            raise ValueError("char_ngrams and word_ngrams are both off: texts have no features")
        return self
