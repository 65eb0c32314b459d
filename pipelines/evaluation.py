"""From a run's predictions to its ``evaluation.json``: the only reader of the test set's labels.

:func:`evaluate_models` trains the baselines that do not yet stand, measures every model and writes
each model's scores of each test example (RUN/evaluate-models/top1.npy and nll.npy, a row a model in
the order of evaluation.json), RUN/evaluate-models/details.json, then RUN/evaluation.json. With
``split="validation"``, for development, no label of the test set is read and only
RUN/evaluate-models/validation.json written.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from specialists.evaluation import Evaluation, details, evaluate, score_models
from specialists.evaluation.notable_examples import SpecialistAnswers
from specialists.files import read_array, read_json, write_array, write_json

from .baselines import STAGE, baseline_outputs
from .context import RunContext
from .ensembles import chosen_rule, ensemble_outputs, open_ensemble
from .runs import Run
from .student_training import student_outputs


def evaluate_models(run: Run, split: Literal["test", "validation"] = "test") -> Evaluation:
    """Measure generalist, ensembles, baselines and students of a run on ``split``."""
    outputs = {
        **ensemble_outputs(run, split),
        **baseline_outputs(run, split),
        **student_outputs(run, split),
    }
    workspace = RunContext.open(run.folder, test_labels=split == "test")
    examples = workspace.split(split)
    labels = examples.labels.numpy()
    subsets = _subsets(run)
    scores = score_models(outputs, labels, examples.valid)
    common: dict[str, Any] = {
        "seed": run.config.seed,
        "n_bootstrap": run.config.evaluation.n_bootstrap,
        "scores": scores,
        "groups": examples.units.numpy(),
        "members": chosen_rule(workspace).voters(len(subsets)),
    }
    name = workspace.dataset.name
    result = evaluate(outputs, labels, examples.valid, subsets, dataset=name, **common)
    if split != "test":
        write_json(run.path(STAGE, f"{split}.json"), result.to_dict())
        return result
    more = details(
        outputs,
        labels,
        examples.valid,
        subsets,
        temperature=read_json(run.path("train-generalist", "calibration.json"))["temperature"],
        texts=examples.texts,
        source_rows=examples.rows,
        ask_specialists=lambda rows: specialist_answers(run, split, rows),
        **common,
    )
    write_array(run.path(STAGE, "top1.npy"), np.stack([m.correct for m in scores.values()]))
    write_array(run.path(STAGE, "nll.npy"), np.stack([m.nll for m in scores.values()]))
    write_json(run.path(STAGE, "details.json"), more.to_dict())
    trainings = {name: list(model.trainings) for name, model in outputs.items()}
    write_json(run.path(STAGE, "trainings.json"), trainings)
    write_json(run.folder / "evaluation.json", result.to_dict())
    return result


def specialist_answers(run: Run, split: str, rows: NDArray[np.int64]) -> SpecialistAnswers:
    """What the active specialists of `ensemble` say of some rows of ``split``.

    Returns
    -------
    {row: {specialist: log-probabilities of shape (|subset| + 1,), the dustbin last}}
    """
    workspace = RunContext.open(run.folder)
    ensemble = open_ensemble(workspace)
    stored = read_array(run.path("combine-predictions", f"{split}.active.npy"))
    active = torch.from_numpy(np.array(stored[rows]))
    inputs = workspace.split(split).inputs[torch.from_numpy(np.array(rows))]
    answers = ensemble.specialist_log_probs(ensemble.features(inputs), active)
    return {
        int(row): {m: answers[m][i].numpy() for m in active[i].nonzero().flatten().tolist()}
        for i, row in enumerate(rows)
    }


def _subsets(run: Run) -> list[NDArray[np.int64]]:
    clusters = read_json(run.path("cluster-classes", "clusters.json"))
    return [np.array(cluster["classes"]) for cluster in clusters["clusters"]]
