"""Every model and its baselines on the test set -> ``RUN/evaluation.json``.

The only stage that reads the test labels.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from specialists.files import recording

from .checks import check_run
from .runs import Run
from .stage import Stage
from .terminal import log


def execute(run: Run, split: Literal["test", "validation"] = "test") -> None:
    """Train the baselines, then measure all models."""
    from specialists.catalogue import BASELINES
    from specialists.report.sentences import time_sentence, worse
    from specialists.uncertainty import MIN_GROUPS, rows_in_groups

    from .evaluation import evaluate_models
    from .finished_run import training_seconds

    with recording(run.path("evaluate-models")):
        evaluation = evaluate_models(run, split=split)
    models, n, k = evaluation.models, evaluation.n_test, evaluation.n_groups
    if k != n or k < MIN_GROUPS:
        log.info(f"{split}: {rows_in_groups(n, k)}{': no test' * (k < MIN_GROUPS)}")
    width = max(map(len, models))
    for name, model in models.items():
        log.info(f"{split}: {name:<{width}} top-1 {model.top1:.4f}  NLL {model.nll:.4f} nats")
        if name in BASELINES and (flaw := worse(models, name)):
            log.info(f"{split}: {name} is {flaw}")
    if split == "test" and (note := time_sentence(models, training_seconds(run))):
        log.info(f"{split}: {note}")


STAGE = Stage(
    name="evaluate-models",
    sections=(
        "seed",
        "device",
        "precision",
        "data",
        "generalist",
        "clusters",
        "specialists",
        "combination",
        "student",
        "evaluation",
    ),
    inputs=(
        "prepare-data/*",
        "train-generalist/*",
        "cluster-classes/*",
        "train-specialists/specialist-*/*",
        "train-specialists/independent-*/*",
        "combine-predictions/*",
        "distill-student/*",
        "distill-student/student/*",
        "distill-student/student_hard_labels/*",
    ),
    execute=execute,
    check=partial(check_run, unlabelled=False),
    outputs=("evaluation.json",),
)
