"""Every model and its baselines on the test set -> ``RUN/evaluation.json``.

The only stage that reads the test labels. It trains the baselines that do not yet stand, measures
every model and writes each model's scores of each test example (RUN/evaluate-models/top1.npy and
nll.npy, a row a model in the order of evaluation.json), RUN/evaluate-models/details.json, then
RUN/evaluation.json. At last it times their predictions, which no result depends on
(RUN/evaluate-models/timing-inference.json). With ``split="validation"``, for development, it reads
no test label, times nothing and writes only RUN/evaluate-models/validation.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from specialists.catalogue import BASELINES, GENERALIST, TRAINED, WORDS
from specialists.ensemble import CombinationRule
from specialists.evaluation import Evaluation, details, evaluate, score_models, shared_gains
from specialists.evaluation.notable_examples import SpecialistAnswers
from specialists.evaluation.scores import Scores
from specialists.evaluation.shared_gains import SharedGains
from specialists.files import read_array, read_json, recording, write_array, write_json
from specialists.predictions import ModelOutputs
from specialists.report.measured_times import times_in_words
from specialists.report.numbers import enumerated
from specialists.report.sentences import no_better, time_sentence
from specialists.runtime import progress
from specialists.uncertainty import MIN_GROUPS, rows_in_groups

from .baselines import STAGE, baseline_outputs
from .combine_predictions import chosen_rule, ensemble_outputs, open_ensemble
from .context import RunContext
from .distill_student import student_outputs
from .finished_run import TIMES, training_seconds
from .pieces import MEASUREMENT, expect_pieces
from .runs import Run
from .shared_specialists import shared_tasks, shortlisting
from .terminal import log
from .timed_models import inference_times
from .train_generalist import read_subsets

SplitName = Literal["test", "validation"]


def execute(run: Run, split: SplitName = "test") -> None:
    """Train the baselines, then measure all models."""
    context = RunContext.open(run.folder)
    expect_pieces(context, STAGE)
    with recording(run.path("evaluate-models")):
        evaluation, times = evaluate_models(run, split=split), None
        if split == "test" and not context.is_given:
            times = inference_times(run)
            write_json(run.path(STAGE, TIMES), times.to_dict())
    models, n, k = evaluation.models, evaluation.n_test, evaluation.n_groups
    if k != n or k < MIN_GROUPS:
        log.info(f"{split}: {rows_in_groups(n, k)}{': no test' * (k < MIN_GROUPS)}")
    width = max(map(len, models))
    for name, model in models.items():
        scores = f"top-1 {model.top1:.4f}  NLL {model.nll:.4f} nats"
        timed = times_in_words(times, name) if times else ""
        log.info(f"{split}: {name:<{width}} {scores}  {timed}".rstrip())
        if name in BASELINES and (flaw := no_better(models, name)):
            log.info(f"{split}: {name} is {flaw}")
    left_out = set(TRAINED).difference(run.config.evaluation.trained_baselines)
    if left_out and not context.is_given:
        names = enumerated([WORDS[name].noun for name in TRAINED if name in left_out])
        how = f"`specialists run --out {run.folder} --set evaluation.baselines=all` trains them too"
        log.info(f"{split}: not trained: {names}; {how}, as `specialists compare` does")
    if split == "test" and (note := time_sentence(models, training_seconds(run))):
        log.info(f"{split}: {note}")


def evaluate_models(run: Run, split: SplitName = "test") -> Evaluation:
    """Measure the generalist, ensembles, baselines and students of a run on ``split``."""
    outputs = {
        **ensemble_outputs(run, split),
        **baseline_outputs(run, split),
        **student_outputs(run, split),
    }
    with progress(MEASUREMENT):
        return _measured(run, split, outputs)


def _measured(run: Run, split: SplitName, outputs: Mapping[str, ModelOutputs]) -> Evaluation:
    context = RunContext.open(run.folder, test_labels=split == "test")
    examples = context.split(split)
    labels = examples.labels.numpy()
    rule = chosen_rule(context)
    subsets = [] if run.config.specialists.kind == "shared" else read_subsets(context)
    scores = score_models(outputs, labels, examples.valid)
    common: dict[str, Any] = {
        "seed": run.config.seed,
        "n_bootstrap": run.config.evaluation.n_bootstrap,
        "scores": scores,
        "groups": examples.units.numpy(),
        "members": rule.may_answer(len(subsets)),
    }
    measured = (outputs, labels, examples.valid, subsets)
    result = evaluate(*measured, dataset=context.dataset.name, **common)
    if split != "test":
        write_json(run.path(STAGE, f"{split}.json"), result.to_dict())
        return result
    more = details(
        *measured,
        temperature=read_json(run.path("train-generalist", "calibration.json"))["temperature"],
        texts=examples.texts,
        source_rows=examples.rows,
        ask_specialists=lambda rows: specialist_answers(run, split, rows),
        shared=_shared_by_rows(context, rule, outputs, scores),
        **common,
    )
    write_array(run.path(STAGE, "top1.npy"), np.stack([m.correct for m in scores.values()]))
    write_array(run.path(STAGE, "nll.npy"), np.stack([m.nll for m in scores.values()]))
    write_json(run.path(STAGE, "details.json"), more.to_dict())
    trainings = {name: list(model.trainings) for name, model in outputs.items()}
    write_json(run.path(STAGE, "trainings.json"), trainings)
    write_json(run.folder / "evaluation.json", result.to_dict())
    return result


def _shared_by_rows(
    context: RunContext,
    rule: CombinationRule,
    outputs: Mapping[str, ModelOutputs],
    scores: Mapping[str, Scores],
) -> SharedGains | None:
    """What shared specialists gain on which test rows; None: the run has none."""
    n, test = len(shared_tasks(context)), context.dataset.test
    if not n:
        return None
    return shared_gains(
        shortlisting(context),
        rule,
        outputs[GENERALIST].predictions,
        test.labels.numpy(),
        scores,
        n_trained=n,
        n_bootstrap=context.config.evaluation.n_bootstrap,
        seed=context.config.seed,
        groups=test.units.numpy(),
    )


def specialist_answers(run: Run, split: str, rows: NDArray[np.int64]) -> SpecialistAnswers:
    """What the active specialists of `ensemble` predict for some rows of ``split``.

    Returns
    -------
    {row: {specialist: log-probabilities of shape (|subset| + 1,), the dustbin last}}
    """
    context = RunContext.open(run.folder)
    ensemble = open_ensemble(context)
    stored = read_array(run.path("combine-predictions", f"{split}.active.npy"))
    active = torch.from_numpy(np.array(stored[rows]))
    inputs = context.asked(split)[torch.from_numpy(np.array(rows))]
    answers = ensemble.specialist_log_probs(ensemble.features(inputs), active)
    return {
        int(row): {m: answers[m][i].numpy() for m in active[i].nonzero().flatten().tolist()}
        for i, row in enumerate(rows)
    }
