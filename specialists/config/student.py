"""What can be set of the student: its size, its objective, its teacher and what it sees."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from specialists.config.fields import (
    MOST,
    Distinct,
    FilePath,
    Names,
    NonNegative,
    Positive,
    PositiveShare,
    PowerOfTwo,
    Ratio,
    Section,
    Share,
    Tables,
    Temperature,
)
from specialists.config.network_sections import OwnNetwork
from specialists.config.optional_parts import FromFolder
from specialists.config.search_space import search_mistakes

N_STORED = {"dense": 0, "top": 32, "sampled": 13}  # classes, unless `n_targets` says it
SchemeName = Literal["offline", "born_again", "mutual", "exits"]
MOST_TRIALS = 27  # learning rates times label smoothings that a student without soft targets tries


def _a_list(values: object) -> object:
    if not isinstance(values, list | tuple):
        raise ValueError(f"a list of candidates is needed, for instance [{values!r}]")
    if strange := [value for value in values if not isinstance(value, str | int | float)]:
        raise ValueError(f"{strange[0]!r} is neither a number nor a string")
    return values


Candidates = Annotated[tuple[object, ...], BeforeValidator(_a_list), Field(min_length=1), Distinct]


class TuningConfig(Section):
    """The search for a student's recipe: successive halving by validation, METHOD.md (44)."""

    search: dict[str, Candidates] = Field(default_factory=dict)
    """Lists of values, by keys of [student] or of its terms ("terms.0.weight"). A candidate is one
    of their combinations, and of `temperatures` and `alphas` where there are no terms."""
    candidates: Positive | None = None
    """Number of combinations that are tried, drawn by the seed. None: all."""
    eta: Annotated[int, Field(strict=True, ge=2, le=MOST)] = 3
    """After each rung one of so many candidates is left, and is trained so many times as long. It
    starts again, since within each training the learning rate falls to zero."""
    rungs: Positive | None = None
    """Number of rungs at most; in the last one candidates are trained in full. None: until fewer
    than `eta` of them are left."""
    select_by: Literal["top1", "loss"] = "top1"
    """Validation score that candidates are compared by."""


class StudentConfig(FromFolder, OwnNetwork):
    """The compact network that learns from the combined distribution."""

    size: Ratio = 0.25
    """Parameters over the generalist's, n-gram tables not counted."""
    width: Positive | None = None
    """The width, in place of `size`."""
    embedding_dim: Positive | None = None
    """Numbers per row of its n-gram table (text). None: by kind of input."""
    n_buckets: PowerOfTwo | None = None
    """Rows of its n-gram table (text), a power of two. None: by kind of input."""
    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1), Distinct] = (1.0, 2.0)
    """Candidates: temperature of the soft targets."""
    alphas: Annotated[tuple[Share, ...], Field(min_length=1), Distinct] = (0.7, 1.0)
    """Candidates: weight of the soft targets in the loss, in [0, 1]; the labels have the rest."""
    terms: Tables = ()
    """What is minimised, as a sum: a table for each term, with its kind, weight and settings, as
    specialists/distillation/terms has them. []: soft targets and labels, by `temperatures` and
    `alphas`."""
    scheme: SchemeName = "offline"
    """Who teaches. offline: the teacher. born_again: the teacher, then each generation the next.
    mutual: peers teach one another. exits: the student teaches classifiers on its `exits`."""
    n_taught: Positive = 2
    """Number of generations of born_again, or of peers of mutual."""
    exits: Annotated[tuple[str, ...], Distinct] = ()
    """Layers of the student on which classifiers sit, by their paths."""
    teacher: Literal["offline", "online"] = "offline"
    """offline: the soft targets are computed once. online: anew for every augmented batch, which is
    slower."""
    targets: Literal["dense", "top", "sampled"] = "dense"
    """What is stored of the teacher's predictions. dense: every class. top: the most probable ones
    and the mass of all others. sampled: drawn ones, which on average say the same."""
    n_targets: Positive | None = None
    """Number of classes (top) or of drawn ones (sampled) that are stored for each example. None: 32
    of top, in 130 bytes; 13 of sampled, in 39."""
    views: NonNegative = 0
    """Number of augmented views of each input that have stored soft targets; the student then sees
    these, one an epoch. 0: soft targets are of inputs as they are, whatever the student sees."""
    unlabelled: FilePath | None = None
    """File of more inputs to learn from, without labels. None: training inputs only."""
    transfer_set: Literal["all", "unlabelled"] = "all"
    """Inputs of the soft targets. all: training's and `unlabelled`. unlabelled: these alone."""
    labelled_share: PositiveShare = 1.0
    """Share of each class's training rows whose labels students know; all have soft targets."""
    leave_out: Names | None = None
    """Classes whose rows no student sees; validation says how frequent they are. None: no class."""
    tuning: TuningConfig | None = None
    """Search for the recipe; hard labels have as many candidates. None: all pairs of `temperatures`
    and `alphas` are trained in full."""

    @property
    def n_stored(self) -> int:
        """Number of classes that `targets` = top or sampled stores of an example."""
        return self.n_targets or N_STORED[self.targets]

    @model_validator(mode="after")
    def as_many_trials_of_hard_labels(self) -> StudentConfig:
        """The student without soft targets can be tuned as often."""
        if self.tuning is None and len(self.temperatures) * len(self.alphas) > MOST_TRIALS:
            raise ValueError(f"more than {MOST_TRIALS} pairs of temperatures and alphas")
        return self

    @model_validator(mode="after")
    def candidates_that_can_be(self) -> StudentConfig:
        """Every value of the search is one that its key may have."""
        if self.tuning is not None and (mistakes := list(search_mistakes(self))):
            raise ValueError("; ".join(mistakes))
        return self
