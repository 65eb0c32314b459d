"""What generalists say of training rows that they never saw, to find clusters by.

The validation rows of many classes are few; training rows are many, but their own generalist knows
them by heart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.classifier import ClassifierTask, train_classifiers
from specialists.generalist import STAGE
from specialists.networks import load_network
from specialists.predictions import predict_outputs
from specialists.runs import Run, read_json
from specialists.training import TrainingCost
from specialists.workspace import Workspace


class CrossFitted(NamedTuple):
    """What generalists say of training rows that they never saw.

    Attributes
    ----------
    log_probs : Tensor of shape (n_train, C), calibrated
    rows : int64 Tensor of shape (n_train,)
        Which row each prediction is of.
    cost : TrainingCost
        Of all these generalists, and of their predictions.
    trainings : tuple of str
        Their folders, below the run's.
    """

    log_probs: Tensor
    rows: Tensor
    cost: TrainingCost
    trainings: tuple[str, ...]


def cross_fitted_predictions(run: Run, n_folds: int = 2) -> CrossFitted:
    """Train ``n_folds`` generalists of the chosen width, each without the fold that it predicts."""
    workspace = Workspace.open(run.folder)
    spec = load_network(workspace.path(STAGE))[1]
    tasks = [
        ClassifierTask(
            workspace.folder,
            workspace.path("cluster-classes", "units", f"fold-{fold}"),
            spec,
            workspace.config.generalist,
            workspace.seed("fold", fold),
            rows=(fold, n_folds),
        )
        for fold in range(n_folds)
    ]
    train_classifiers(tasks, run.jobs, "cross-fitted generalists")
    parts, rows, cost = [], [], TrainingCost()
    for fold, task in enumerate(tasks):
        network, _, about = load_network(task.folder)
        held_out = torch.arange(fold, len(workspace.dataset.train), n_folds)
        outputs = predict_outputs(network, workspace.dataset.train.inputs[held_out])
        parts.append(F.log_softmax(outputs / about["temperature"], dim=-1))
        rows.append(held_out)
        result = read_json(task.folder / "result.json")
        predicting = TrainingCost(flops=len(held_out) * result["inference_flops"])
        cost += TrainingCost.from_dict(result) + predicting
    folders = (task.folder.relative_to(run.folder).as_posix() for task in tasks)
    return CrossFitted(torch.cat(parts), torch.cat(rows), cost, tuple(folders))
