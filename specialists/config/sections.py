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
    Layers,
    NonNegative,
    Number,
    Positive,
    PositiveShare,
    PowerOfTwo,
    Ratio,
    Section,
    Share,
    Switch,
    Temperature,
    Weight,
)
from specialists.config.network_sections import OwnNetwork
from specialists.config.optional_parts import AdapterSettings, FromFolder

DEFERRED = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)
WHOLE_HEADS = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)


class GeneralistConfig(FromFolder, OwnNetwork):
    """The model of all classes."""

    model: Literal["hashed_text", "mlp", "resnet"] | None = None
    """Network: hashed_text for text, mlp for features, resnet for images. None: by kind of
    input."""
    head: Annotated[str, Field(min_length=1)] | None = None
    """Dotted path of the factory's head, for instance classifier.out_proj. None: its last layer
    with an output a class."""
    width: Positive | None = None
    """The width: hidden units or channels. None: validation chooses among `widths`."""
    widths: Annotated[tuple[Positive, ...], Field(min_length=1), Distinct] | None = None
    """Candidate widths, of which validation chooses one. None: by kind of input."""
    depth: Layers | None = None
    """Number of hidden layers, or of blocks in each stage of a resnet. None: by kind of input."""
    embedding_dim: Positive | None = None
    """Numbers per row of the n-gram table (text). None: by kind of input."""
    n_buckets: PowerOfTwo | None = None
    """Rows of the n-gram table (text), a power of two. None: by kind of input."""
    head_rank: Positive | None = None
    """Rank of a cheap head in two factors. None: a full head."""
    weights: FilePath | None = None
    """Trained weights of your own: safetensors, a state dict, a checkpoint, or a folder of
    save_pretrained. None: the generalist is trained here."""
    predictions: FilePath | None = None
    """Any model's probabilities as the generalist: .npy, .npz or .parquet, a row for each row of
    the data and a column for each class. None: the generalist is a network."""
    classes: str | tuple[str | int, ...] | None = None
    """Class names of the outputs, in order: a list or a file. None: in or beside the weights or
    predictions."""
    inference_flops: Annotated[Number, Field(gt=0)] | None = None
    """FLOPs of a prediction of a generalist given as its predictions. None: unknown."""


class ClustersConfig(Section):
    """Which classes are confused with which."""

    method: Literal[
        "balanced", "kmeans", "minibatch", "spherical", "agglomerative", "correlation"
    ] = "balanced"
    """How classes are grouped."""
    n_clusters: Positive | Literal["auto"] | None = None
    """Number of clusters, one specialist each. None: about one for every 30
    classes, times `coverage`. auto: as many as correlation clustering finds, times `coverage`."""
    max_ratio: Annotated[Number, Field(ge=1)] = 2.0
    """Largest size of a cluster over the mean size, before `overlap`; for the method balanced."""
    overlap: NonNegative = 0
    """Number of the nearest outside classes added to each cluster, beyond `max_ratio`."""
    coverage: Positive = 1
    """Number of clusters that each class lies in: one of each of so many partitions, the later ones
    of the confusions that the earlier leave. For the method balanced."""
    shuffled: Switch = False
    """Whether the classes are drawn at random into clusters of the same sizes: a baseline."""
    matrix: Literal["covariance", "correlation", "confusion"] | None = None
    """Matrix whose columns are compared. None: covariance for kmeans,
    minibatch and correlation; correlation for the others."""
    predictions: Literal["validation", "cross-fitted"] = "validation"
    """Rows whose predictions are compared. cross-fitted: training rows, of which two generalists
    predict each other's half."""
    file: FilePath | None = None
    """Your own clusters: JSON, or a table with columns class and cluster. None: found here."""


class SpecialistsConfig(AdapterSettings, OwnNetwork):
    """One small model per cluster, with a dustbin for every other class; or few of all classes."""

    kind: Literal["clusters", "shared", "both"] = "clusters"
    """clusters: one specialist per cluster. shared: networks of all classes, each asked about a
    shortlist of every row. both: either, as validation chooses. The settings below are of
    clusters; shared specialists are trained as the generalist, and take width, n_buckets and
    label_smoothing."""
    n_shared: Positive = 1
    """Number of shared specialists."""
    shortlist: Positive = 32
    """Number of the generalist's most probable classes on a row's shortlist."""
    shortlist_of: Literal["classes", "clusters"] = "classes"
    """What is on a shortlist. classes: the most probable ones. clusters: all classes of the
    clusters of the most probable ones (as many as the largest of combination.n)."""
    shortlist_by: Literal["generalist", "cross-fitted"] = "generalist"
    """Who finds the shortlists of training rows. cross-fitted: two generalists that have not seen
    them, which clusters.predictions = "cross-fitted" trains."""
    shared_epochs: Positive | None = None
    """Passes of a shared specialist over the training data, at most. None: the generalist's."""
    widen: Ratio | None = None
    """Width over the generalist's, where frozen parts allow it; below 1 only with start = fresh.
    None: by kind of input."""
    width: Positive | None = None
    """The width, in place of `widen`."""
    start: Literal["generalist", "independent", "fresh"] | None = None
    """Weights to start from. independent: those of another generalist, trained for this. fresh: new
    ones in all parts but frozen ones. None: by kind of input."""
    n_buckets: PowerOfTwo | None = None
    """Rows of an n-gram table of its own (text); needs start = fresh and freeze = []. None: the
    generalist's."""
    subset_share: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """Fraction of the training examples that are drawn from the specialist's own classes."""
    soft_targets: Share = 0.3
    """Weight of the soft targets in the loss, in [0, 1]; the labels have the rest."""
    temperature: Temperature = 1.0
    """Temperature of the soft targets."""
    freeze: tuple[str, ...] | None = None
    """Parts of the generalist, by name, that stay as they are. None: by kind of input."""
    correction: Literal["exact", "paper"] = "exact"
    """Formula that corrects the dustbin logit for `subset_share`."""
    calibrate: Switch = True
    """Whether a temperature and a dustbin bias are fitted on validation data."""

    @model_validator(mode="after")
    def independent_throughout(self) -> SpecialistsConfig:
        """Nothing is shared with the generalist where specialists start from another."""
        if self.start == "independent" and self.freeze:
            raise ValueError("freeze needs start = 'generalist' or 'fresh', not 'independent'")
        return self

    @model_validator(mode="after")
    def adapters_on_the_generalist(self) -> SpecialistsConfig:
        """Adapters change nothing else of a generalist that all of them share."""
        own = self.start not in (None, "generalist") or self.freeze or self.factory
        if self.adapter is not None and (own or self.kind == "shared"):
            raise ValueError("adapter needs kind = 'clusters', start = 'generalist', freeze = []")
        return self

    @model_validator(mode="after")
    def own_table_afresh(self) -> SpecialistsConfig:
        """A table of another size can be neither shared with the generalist nor copied from it."""
        afresh = self.kind == "shared" or (self.start == "fresh" and self.freeze == ())
        if self.n_buckets is not None and not afresh:
            raise ValueError("n_buckets needs start = 'fresh' and freeze = []")
        return self


class CombinationConfig(Section):
    """How specialists and generalist are joined; validation chooses among the candidates."""

    n: Annotated[tuple[Positive, ...], Field(min_length=1), Distinct] = (1, 2, 3, 5)
    """Candidates: how many of the most probable classes decide which specialists are asked."""
    weights: Annotated[tuple[Weight, ...], Field(min_length=1), Distinct] = (0.5, 1.0, 2.0, 4.0)
    """Candidates: weight of every specialist; the generalist has weight 1."""
    deferral: Annotated[tuple[PositiveShare, ...], Field(min_length=1), Distinct] = DEFERRED
    """Candidates, one chosen on validation: fraction of the rows handed to specialists, those
    that the generalist is least sure of. 1.0: all rows. Learned rules, rules without n and students
    always use all rows."""
    whole_heads: Annotated[tuple[Share, ...], Field(min_length=1), Distinct] = WHOLE_HEADS
    """Candidates: fraction of the rows in which shared specialists are asked about every class,
    those that the generalist is least sure of. 0.0: no rows, shortlists alone."""
    rules: Annotated[
        tuple[Literal["kl", "learned", "within_subsets", "side_by_side"], ...],
        Field(min_length=1),
        Distinct,
    ] = ("kl", "learned", "within_subsets", "side_by_side")
    """Candidates: how predictions are combined. kl: where n chooses who is asked, with dustbins
    fitted to the rows that it asks about. learned: kl, with a weight and a temperature for each
    specialist."""
    max_cost: Annotated[float, Field(ge=1, strict=True)] = 3.0
    """Largest inference FLOPs of `ensemble` over the generalist's. inf: no limit."""
    select_by: Literal["top1", "nll"] = "nll"
    """Validation score that chooses among the candidates."""
    admission: Literal["whole", "each", "off"] = "whole"
    """What must pass the admission test: the whole ensemble, each specialist, or nothing (off).
    What fails answers like the generalist."""
