"""What can be set of the student: its size, its objective, its teacher and what it sees."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from specialists.config.fields import (
    Distinct,
    FilePath,
    Names,
    NonNegative,
    Positive,
    PositiveShare,
    PowerOfTwo,
    Ratio,
    Share,
    Tables,
    Temperature,
)
from specialists.config.network_sections import OwnNetwork
from specialists.config.optional_parts import FromFolder

MOST_TRIALS = 27  # learning rates times label smoothings that a student without soft targets tries


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
    scheme: Literal["offline", "born_again", "mutual", "exits"] = "offline"
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
    and the mass of all others. sampled: draws, which on average say the same."""
    n_targets: Positive = 32
    """Number of classes (top) or of draws (sampled) that are stored for each example."""
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

    @model_validator(mode="after")
    def as_many_trials_of_hard_labels(self) -> StudentConfig:
        """The student without soft targets can be tuned as often."""
        if len(self.temperatures) * len(self.alphas) > MOST_TRIALS:
            raise ValueError(f"more than {MOST_TRIALS} pairs of temperatures and alphas")
        return self
