"""Which generalist does a specialist start from?

The run's own, or with ``specialists.start = "independent"`` one that was trained for this, by the
same recipe with a seed of its own. There are as many of these as a class has specialists (on
average, rounded), and specialists of many common classes start from different ones, so that what
they say of a class errs independently.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specialists.classifier import ClassifierTask
from specialists.clustering import ClassClusters
from specialists.generalist import STAGE as GENERALIST
from specialists.networks import load_network
from specialists.runs import read_json
from specialists.workspace import Workspace

STAGE = "train-specialists"


def read_subsets(workspace: Workspace) -> list[tuple[int, ...]]:
    """The classes of each cluster."""
    content = read_json(workspace.path("cluster-classes", "clusters.json"))
    return [tuple(subset.tolist()) for subset in ClassClusters.from_dict(content).subsets]


def independent_generalists(workspace: Workspace) -> list[ClassifierTask]:
    """The trainings of the other generalists that specialists start from; often none."""
    if workspace.config.specialists.start != "independent":
        return []
    spec = load_network(workspace.path(GENERALIST))[1]
    members = [label for subset in read_subsets(workspace) for label in subset]
    return [
        ClassifierTask(
            workspace.folder,
            workspace.path(STAGE, f"independent-{i}"),
            spec,
            workspace.config.generalist,
            workspace.seed("independent", i),
        )
        for i in range(round(len(members) / len(set(members))))
    ]


def parents(workspace: Workspace) -> list[Path]:
    """The folder of the generalist that each specialist starts from."""
    subsets, trainings = read_subsets(workspace), independent_generalists(workspace)
    if not trainings:
        return [workspace.path(GENERALIST)] * len(subsets)
    return [trainings[i].folder for i in deal(subsets, len(trainings))]


def deal(subsets: Sequence[Sequence[int]], n: int) -> list[int]:
    """Which of ``n`` generalists each specialist starts from, so that few classes clash.

    A greedy choice: one after the other, the largest first, takes the one whose specialists share
    the fewest classes with it; of several such, the one with the fewest specialists.

    Parameters
    ----------
    subsets : sequence of sequences of int
        The classes of each specialist.
    n : int

    Returns
    -------
    list of int
        A number from 0 to n - 1 for each specialist.
    """
    shared = np.zeros((n, 1 + max(max(subset) for subset in subsets)), dtype=np.int64)
    taken = np.zeros(n, dtype=np.int64)
    found = [0] * len(subsets)
    for index in sorted(range(len(subsets)), key=lambda i: -len(subsets[i])):
        members = list(subsets[index])
        chosen = int(np.lexsort((taken, shared[:, members].sum(1)))[0])
        shared[chosen, members] += 1
        taken[chosen] += 1
        found[index] = chosen
    return found
