"""Which trainings does a resolved configuration ask for, of which networks, on how many examples?

What only a run finds out is assumed: clusters of equal sizes, the first of the candidate widths
wins. Rivals that are matched to the ensemble by floating-point operations are not listed here, see
:mod:`specialists.feasibility.estimate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from specialists.clustering.methods import usual_number
from specialists.config import (
    Config,
    Recipe,
    distinct_networks,
    network_sizes,
    student_candidates,
)
from specialists.distillation import rungs_of, student_spec
from specialists.feasibility.plan import specialist_spec
from specialists.feasibility.shape import DataShape
from specialists.networks import NetworkSpec, generalist_spec, own_spec
from specialists.shared import shared_recipe

N_FOLDS = 2  # generalists that predict each other's training rows
GENERALIST, CROSS_FITTED, INDEPENDENT = "generalist", "cross-fitted", "independent"
CLUSTERED, SHARED, STUDENTS, RIVALS = "specialist", "shared specialist", "student", "baseline"


@dataclass(frozen=True)
class PlannedTrainings:
    """Trainings of one kind, all alike.

    Parameters
    ----------
    kind : str
        One of the names above.
    n : int
        How many.
    spec : NetworkSpec
    recipe : Recipe
        Resolved.
    n_epoch : int
        Examples in an epoch of each.
    frozen : tuple of str
        Parts of the network that are not trained.
    share : float
        Of its recipe's epochs that each passes through, on average.
    """

    kind: str
    n: int
    spec: NetworkSpec
    recipe: Recipe
    n_epoch: int
    frozen: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def examples(self) -> float:
        """That each sees at most."""
        return self.share * (self.recipe.epochs or 1) * self.n_epoch

    @property
    def fewest(self) -> float:
        """Examples that each sees if it soon stops improving: half of them, and its patience."""
        epochs = self.recipe.epochs or 1
        patience = self.recipe.patience or epochs
        return self.share * min(epochs, max(patience + 1, epochs // 2)) * self.n_epoch


def planned_trainings(config: Config, data: DataShape) -> list[PlannedTrainings]:
    """The trainings that a resolved configuration asks for, in the order of a run; no rivals."""
    generalist = config.generalist
    spec = generalist_spec(generalist, data.n_classes, data.input_shape)
    n = int(generalist.weights is None and generalist.predictions is None)  # else it is given
    plans = [
        PlannedTrainings(
            GENERALIST, n, dataclasses.replace(spec, width=width), generalist, data.n_train
        )
        for width in generalist.widths or (spec.width,)
    ]
    if config.clusters.predictions == "cross-fitted" and generalist.predictions is None:
        rows = data.n_train - data.n_train // N_FOLDS
        plans.append(PlannedTrainings(CROSS_FITTED, N_FOLDS, spec, generalist, rows))
    plans += _specialists(config, data, spec)
    return [*plans, *_students(config, data, spec)]


def _n_clusters(config: Config, n_classes: int) -> int:
    """How many clusters there will be; where clustering decides, as many as usual."""
    n, coverage = config.clusters.n_clusters, config.clusters.coverage
    return n if isinstance(n, int) else usual_number(n_classes, coverage)


def _specialists(
    config: Config, data: DataShape, generalist: NetworkSpec
) -> Iterator[PlannedTrainings]:
    settings, coverage = config.specialists, config.clusters.coverage
    if settings.kind != "shared":
        if settings.start == "independent":
            recipe = config.generalist
            yield PlannedTrainings(INDEPENDENT, coverage, generalist, recipe, data.n_train)
        n = _n_clusters(config, data.n_classes)
        size = coverage * data.n_classes / n + config.clusters.overlap
        spec = specialist_spec(config, generalist, round(size) + 1)
        rows = round(data.n_train * size / data.n_classes / settings.subset_share)
        yield PlannedTrainings(CLUSTERED, n, spec, settings, rows, settings.freeze or ())
    if settings.kind != "clusters":
        changes = {
            "width": settings.width or generalist.width,
            "n_buckets": settings.n_buckets or generalist.n_buckets,
        }
        own = own_spec(settings, data.n_classes, data.input_shape)
        spec = own or dataclasses.replace(generalist, **changes)
        recipe = shared_recipe(config.generalist, settings)
        yield PlannedTrainings(SHARED, settings.n_shared, spec, recipe, data.n_train)


def _students(
    config: Config, data: DataShape, generalist: NetworkSpec
) -> Iterator[PlannedTrainings]:
    """Trials with soft targets, of as many networks as the scheme trains, and as many without.

    Which candidates of a search are left after a rung is not known: each is taken for as likely.
    """
    settings = config.student
    n_taught = settings.n_taught if settings.scheme in ("born_again", "mutual") else 1
    candidates = student_candidates(settings, config.seed)
    rungs, n_before, n_all = rungs_of(settings, len(candidates)), 0, 0
    whole = sum(rung.n * rung.share for rung in rungs) / len(candidates)  # a candidate, on average
    for network in distinct_networks(candidates):
        alike = [each for each in candidates if network_sizes(each) == network_sizes(network)]
        n_all += len(alike)
        n_trained = round(sum(rung.n for rung in rungs) * n_all / len(candidates))
        n, n_before = n_trained - n_before, n_trained
        epochs = sum(each.epochs or 1 for each in alike) / (network.epochs or 1)
        spec = student_spec(generalist, network, data.kind)
        counted = (1 + n_taught) * n, spec, network, data.n_train
        yield PlannedTrainings(STUDENTS, *counted, share=whole * epochs / n)
