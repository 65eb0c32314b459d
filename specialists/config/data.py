"""Where the examples come from: which settings of ``[data]`` there are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from specialists.config.fields import (
    FilePath,
    Fraction,
    ImportPath,
    Names,
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

    name: str | None = None
    """Source: a data set that ships: emoji, languages or glyphs."""
    table: FilePath | None = None
    """Source: a .tsv, .csv, .jsonl or .parquet file, plain or .gz."""
    arrays: FilePath | dict[str, FilePath] | None = None
    """Source: an .npz with inputs and labels, or {x = "x.npy", y = "y.npy"}, a file for each, which
    may be larger than memory."""
    images: FilePath | None = None
    """Source: a folder that holds a folder of image files for each class."""
    factory: ImportPath | None = None
    """Source: package.module:function, which returns a Dataset: of this library, of PyTorch, or of
    Hugging Face."""
    columns: tuple[str, ...] | None = None
    """Names of a table's columns. None: its first row is a header."""
    text: str | None = None
    """Name of the text column. None: text."""
    label: str | None = None
    """Name of the label column. None: label."""
    features: tuple[str, ...] | Literal["numeric"] | None = None
    """Columns of numbers to learn from, in place of a text. numeric: all that there are. None:
    these, where a table has no text column and all others hold numbers."""
    split: str | None = None
    """Name of the split column. None: a column called split, if there is one. "": none."""
    splits: dict[Literal["train", "validation", "test"], tuple[str, ...]] | None = None
    """Values of the split column in each split. None: the usual names of the three."""
    exclude_labels: tuple[str, ...] = ()
    """Labels whose rows are left out."""
    keys: dict[str, str] | None = None
    """Which array is x and which is y, or x_train and so on. Of a Dataset whose items are mappings:
    which key is x and which is y. None: found by their names."""
    tensors: Names | None = None
    """The arrays that a network of your own takes, as they are, by these names: token ids, a mask.
    None: one array, x, of features or images."""
    split_by: Options | None = None
    """The array whose values decide the split: {array = "drawer", test = [1], validation = [2]}.
    None: none."""
    groups: Names | None = None
    """Column or array of what repeats, for instance a concept or a writer, or a list of them. Rows
    that agree in all of these count as one observation and lie on one side of every split. None:
    every row is its own."""
    min_examples: Positive = 20
    """Classes with fewer rows than this are left out."""
    validation_fraction: Fraction = 0.1
    """Fraction of the rows cut for validation, if the data bring no validation split."""
    test_fraction: Fraction = 0.15
    """Fraction of the rows cut for the test, if the data bring no test split."""
    admission_fraction: Fraction = 0.5
    """Fraction of the validation rows kept for the admission test alone."""
    max_examples: Positive | None = None
    """Number of rows drawn at most, for trying out. None: all rows."""
    char_ngrams: NGrams | None = None
    """Shortest and longest n-gram of characters in a text. [0, 0]: none. None: [1, 4] for
    languages, [2, 5] for tables and emoji."""
    word_ngrams: NGrams | None = None
    """Shortest and longest n-gram of words in a text. [0, 0]: none. None: [0, 0] for languages,
    [1, 2] for tables and emoji."""
    lowercase: Switch | None = None
    """Whether texts are lower-cased. None: yes for tables and emoji, no for languages."""
    in_place: Switch | None = None
    """Whether inputs are read where they lie, a batch at a time, and the run holds no copy. None:
    .npy files from 256 MiB on; image files and a Dataset of PyTorch from a quarter of the memory
    on."""
    tokenizer: FilePath | None = None
    """Folder of a tokenizer of Hugging Face, whose tokens texts are read as, in place of n-grams.
    None: that of generalist.pretrained or student.pretrained, if set."""
    max_tokens: Positive | None = None
    """Tokens of a text after which it is cut. None: 128, or what the tokenizer's folder says, if
    that is less."""
    image_size: Pixels | None = None
    """Height and width that images are scaled to, in pixels. None: 32; arrays: as they are."""
    standardize: Switch | None = None
    """Whether features get zero mean and unit variance. None: yes, unless generalist.weights is
    set."""
    augment: Switch | None = None
    """Whether training inputs change at random: affine maps of images, dropout of n-grams or
    features. None: by kind of input."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of the factory."""

    @property
    def source(self) -> tuple[str, str | dict[str, str]]:
        """Which source is set, and its value."""
        given = ((source, getattr(self, source)) for source in SOURCES)
        return next((pair for pair in given if pair[1] is not None), ("name", ""))

    @property
    def reader(self) -> str:
        """What reads the source: its kind, or the name of a data set that ships."""
        return self.name or self.source[0]

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
