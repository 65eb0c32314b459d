"""What can be set: one frozen model per stage.

A field that is ``None`` takes the default of the kind of input (text, features, images), which
:mod:`specialists.config.defaults` lists; everything else has its default here. Unknown keys are
errors. Fractions lie in [0, 1], learning rates are per optimiser step, lengths are in examples
unless a description says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from specialists.config.fields import (
    Distinct,
    FilePath,
    Fraction,
    ImportPath,
    Layers,
    NonNegative,
    Number,
    Options,
    Positive,
    PositiveShare,
    PowerOfTwo,
    Rate,
    Ratio,
    Resamples,
    Section,
    Share,
    Switch,
    Temperature,
    Weight,
)

MOST_TRIALS = 27  # learning rates times label smoothings that a student without soft targets tries


class Recipe(Section):
    """How a network is trained: AdamW (sparse tables: Adagrad), warm-up, cosine, best epoch."""

    epochs: Positive | None = Field(
        default=None, description="passes over the training data, at most"
    )
    batch_size: Positive | None = Field(default=None, description="examples a step")
    learning_rate: Rate | None = Field(default=None, description="peak, of dense parameters")
    embedding_learning_rate: Rate | None = Field(default=None, description="peak, of sparse tables")
    weight_decay: Number = Field(
        default=0.01, ge=0, le=1000, description="decoupled; matrices only, no tables"
    )
    warmup: Fraction = Field(default=0.05, description="share of the steps with a rising rate")
    select_by: Literal["loss", "top1"] = Field(
        default="loss", description="validation score of the best epoch"
    )
    patience: Positive | None = Field(
        default=None,
        description="epochs without a better validation score, at most; images: no limit",
    )
    clip: Number = Field(gt=0, default=1.0, description="largest gradient norm of dense parameters")
    label_smoothing: Fraction | None = Field(default=None, description="mass spread over all")
    dropout: Fraction | None = Field(default=None, description="before the head")


class GeneralistConfig(Recipe):
    """The model of all classes."""

    model: Literal["hashed_text", "mlp", "resnet"] | None = Field(
        default=None, description="hashed_text for text, mlp for features, resnet for images"
    )
    factory: ImportPath | None = Field(
        default=None, description="package.module:function, any nn.Module"
    )
    options: Options = Field(default_factory=dict, description="arguments of the factory")
    width: Positive | None = Field(
        default=None, description="hidden units or channels; fixes the width"
    )
    widths: Annotated[tuple[Positive, ...], Distinct] | None = Field(
        default=None, min_length=1, description="validation picks one of these"
    )
    depth: Layers | None = Field(default=None, description="hidden layers, or blocks a stage")
    embedding_dim: Positive | None = Field(default=None, description="of text's n-gram table")
    n_buckets: PowerOfTwo | None = Field(
        default=None, description="rows of the table, a power of two"
    )
    head_rank: Positive | None = Field(
        default=None, description="of a cheap head in two factors; None: a full one"
    )
    weights: FilePath | None = Field(
        default=None,
        description="your own: safetensors, a state dict, a checkpoint, a save_pretrained folder",
    )
    classes: str | tuple[str | int, ...] | None = Field(
        default=None,
        description="names of its outputs, in order: a list, or a file; None: looked for beside it",
    )


class ClustersConfig(Section):
    """Which classes are confused with which."""

    method: Literal[
        "balanced", "kmeans", "minibatch", "spherical", "agglomerative", "correlation"
    ] = Field(default="balanced", description="how classes are grouped")
    n_clusters: Positive | Literal["auto"] | None = Field(
        default=None, description="number of specialists; None: by rule; auto: found (correlation)"
    )
    max_ratio: Number = Field(default=2.0, ge=1, description="balanced: largest size over the mean")
    overlap: NonNegative = Field(
        default=0, description="nearest outside classes added to each cluster"
    )
    coverage: Positive = Field(
        default=1, description="clusters that each class lies in: its own and the nearest others"
    )
    shuffled: Switch = Field(
        default=False, description="a control: the same sizes, classes drawn at random"
    )
    matrix: Literal["covariance", "correlation", "confusion"] | None = Field(
        default=None,
        description="whose columns are compared; None: covariance for kmeans, or correlation",
    )
    predictions: Literal["validation", "cross-fitted"] = Field(
        default="validation",
        description="cross-fitted: two generalists predict each other's training half",
    )


class SpecialistsConfig(Recipe):
    """One small model per cluster, with a dustbin for every other class."""

    widen: Ratio | None = Field(
        default=None,
        description="width over the generalist's, if frozen parts allow it; below 1: start fresh",
    )
    width: Positive | None = Field(default=None, description="fixes the width instead of `widen`")
    start: Literal["generalist", "independent", "fresh"] | None = Field(
        default=None,
        description="weights to start from; independent: of another generalist, trained for this; "
        "fresh: new ones, all but frozen parts",
    )
    n_buckets: PowerOfTwo | None = Field(
        default=None, description="rows of its own n-gram table; start fresh, freeze nothing"
    )
    subset_share: Number = Field(default=0.5, gt=0, lt=1, description="s, examples from the subset")
    soft_targets: Share = Field(default=0.3, description="weight of soft targets")
    temperature: Temperature = Field(default=1.0, description="of the soft targets")
    freeze: tuple[str, ...] | None = Field(
        default=None, description="parts (by name) that stay as they are"
    )
    correction: Literal["exact", "paper"] = Field(
        default="exact", description="of the dustbin logit"
    )
    calibrate: Switch = Field(
        default=True, description="temperature and dustbin bias, on validation data"
    )

    @model_validator(mode="after")
    def independent_throughout(self) -> SpecialistsConfig:
        """Nothing is shared with the generalist where specialists start from another."""
        if self.start == "independent" and self.freeze:
            raise ValueError("freeze needs start = 'generalist' or 'fresh', not 'independent'")
        return self

    @model_validator(mode="after")
    def own_table_afresh(self) -> SpecialistsConfig:
        """A table of another size can be neither shared with the generalist nor copied from it."""
        if self.n_buckets is not None and (self.start != "fresh" or self.freeze != ()):
            raise ValueError("n_buckets needs start = 'fresh' and freeze = []")
        return self


class CombinationConfig(Section):
    """How specialists and generalist are joined; validation chooses among the candidates."""

    n: Annotated[tuple[Positive, ...], Distinct] = Field(
        default=(1, 2, 3, 5), min_length=1, description="most probable classes that select"
    )
    weights: Annotated[tuple[Weight, ...], Distinct] = Field(
        default=(0.5, 1.0, 2.0, 4.0), min_length=1, description="v, common to all"
    )
    deferral: Annotated[tuple[PositiveShare, ...], Distinct] = Field(
        default=(1.0, 0.75, 0.5, 0.35, 0.25, 0.15),
        min_length=1,
        description="shares of the rows, those that the generalist is least sure of, that are "
        "handed to specialists; each share is a candidate, chosen on validation; 1.0: all rows, as "
        "always by learned rules, by rules without n and for students",
    )
    rules: Annotated[
        tuple[Literal["kl", "learned", "within_subsets", "side_by_side"], ...], Distinct
    ] = Field(
        default=("kl", "learned", "within_subsets", "side_by_side"),
        min_length=1,
        description="how votes are joined; learned: kl, a weight and a temperature each",
    )
    max_cost: float = Field(
        default=3.0,
        ge=1,
        strict=True,
        description="inference FLOPs of `ensemble` over the generalist's; inf: no limit",
    )
    select_by: Literal["top1", "nll"] = Field(default="nll", description="validation score")
    gate: Literal["whole", "each", "off"] = Field(
        default="whole", description="what must pass the test on rows kept for it, else generalist"
    )


class StudentConfig(Recipe):
    """The compact network that learns from the combined distribution."""

    size: Ratio = Field(
        default=0.25, description="parameters over the generalist's, without tables"
    )
    width: Positive | None = Field(default=None, description="fixes the width instead of `size`")
    embedding_dim: Positive | None = Field(default=None, description="of its n-gram table")
    n_buckets: PowerOfTwo | None = Field(
        default=None, description="rows of its table, a power of two"
    )
    temperatures: Annotated[tuple[Temperature, ...], Distinct] = Field(
        default=(1.0, 2.0), min_length=1, description="candidates"
    )
    alphas: Annotated[tuple[Share, ...], Distinct] = Field(
        default=(0.7, 1.0), min_length=1, description="candidate weights of soft targets"
    )
    teacher: Literal["stored", "live"] = Field(
        default="stored", description="live: asked about every augmented batch; slower"
    )
    unlabelled: FilePath | None = Field(
        default=None, description="file of more inputs to learn from"
    )

    @model_validator(mode="after")
    def as_many_trials_of_hard_labels(self) -> StudentConfig:
        """The student without soft targets can be tuned as often."""
        if len(self.temperatures) * len(self.alphas) > MOST_TRIALS:
            raise ValueError(f"more than {MOST_TRIALS} pairs of temperatures and alphas")
        return self


class EvaluationConfig(Section):
    """What is measured on the test set."""

    n_bootstrap: Resamples = Field(default=1000, description="resamples of each interval")
    controls: Annotated[
        tuple[Literal["generalist_continued", "generalist_wide", "generalist_ensemble"], ...],
        Distinct,
    ] = Field(
        default=("generalist_continued", "generalist_wide", "generalist_ensemble"),
        description="rivals to train, matched to the ensemble by FLOPs; generalist_ensemble is "
        "averaged whole, as few as the ensemble's inference pays for "
        "(generalist_ensemble_same_inference), and with later members that are asked less "
        "(generalist_ensemble_deferred)",
    )


class ReportConfig(Section):
    """What the report shows."""

    title: str | None = Field(default=None, description="heading; None: the data set's name")
    n_examples: Positive = Field(default=12, description="mended and broken examples, each")
