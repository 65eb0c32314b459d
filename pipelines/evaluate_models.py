"""Every model and its baselines on the test set -> ``RUN/evaluation.json``.

The only stage that reads the test labels. It trains the baselines that do not yet stand, measures
every model and writes each model's scores of each test example (RUN/evaluate-models/top1.npy and
nll.npy, a row a model in the order of evaluation.json), RUN/evaluate-models/details.json, then
RUN/evaluation.json. At last it times their predictions, which no result depends on
(RUN/evaluate-models/timing-inference.json). With ``split="validation"``, for development, it reads
no test label, times nothing and writes only RUN/evaluate-models/validation.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from specialists.catalogue import BASELINES, GENERALIST, TRAINED, WORDS
from specialists.ensemble import CombinationRule
from specialists.evaluation import Evaluation, details, evaluate, score_models, shared_gains
from specialists.evaluation.findings import Difference, ModelScores
from specialists.evaluation.notable_examples import SpecialistAnswers
from specialists.evaluation.one_run import differences, resample
from specialists.evaluation.scores import Scores
from specialists.evaluation.shared_gains import SharedGains
from specialists.files import read_array, read_json, recording, write_array, write_json
from specialists.predictions import ModelOutputs
from specialists.report.measured_times import times_in_words
from specialists.report.numbers import enumerated, percent
from specialists.report.sentences import time_sentence
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
        (evaluation, scores), times = _evaluated(run, split), None
        if split == "test" and not context.is_given:
            times = inference_times(run)
            write_json(run.path(STAGE, TIMES), times.to_dict())
    models, n, k = evaluation.models, evaluation.n_test, evaluation.n_groups
    if k != n or k < MIN_GROUPS:
        log.info(f"{split}: {rows_in_groups(n, k)}{': no test' * (k < MIN_GROUPS)}")
    flaws = _flaws(context, split, evaluation, scores)
    width = max(map(len, models))
    for name, model in models.items():
        reached = f"top-1 {model.top1:.4f}  NLL {model.nll:.4f} nats"
        timed = times_in_words(times, name) if times else ""
        log.info(f"{split}: {name:<{width}} {reached}  {timed}".rstrip())
        if name in flaws:
            log.info(f"{split}: {name} {flaws[name]}")
    left_out = set(TRAINED).difference(run.config.evaluation.trained_baselines)
    if left_out and not context.is_given:
        names = enumerated([WORDS[name].noun for name in TRAINED if name in left_out])
        how = f"`specialists run --out {run.folder} --set evaluation.baselines=all` trains them too"
        log.info(f"{split}: not trained: {names}; {how}, as `specialists compare` does")
    if split == "test" and (note := time_sentence(models, training_seconds(run))):
        log.info(f"{split}: {note}")


def evaluate_models(run: Run, split: SplitName = "test") -> Evaluation:
    """Measure the generalist, ensembles, baselines and students of a run on ``split``."""
    return _evaluated(run, split)[0]


def _evaluated(run: Run, split: SplitName) -> tuple[Evaluation, dict[str, Scores]]:
    outputs = {
        **ensemble_outputs(run, split),
        **baseline_outputs(run, split),
        **student_outputs(run, split),
    }
    with progress(MEASUREMENT):
        return _measured(run, split, outputs)


def _measured(
    run: Run, split: SplitName, outputs: Mapping[str, ModelOutputs]
) -> tuple[Evaluation, dict[str, Scores]]:
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
        return result, scores
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
    return result, scores


def _flaws(
    context: RunContext, split: SplitName, found: Evaluation, scores: Mapping[str, Scores]
) -> dict[str, str]:
    """In what a baseline does not reach the generalist, so that beating it means little."""
    base = found.models[GENERALIST]
    below = [
        name
        for name, model in found.models.items()
        if name in BASELINES and (model.top1 < base.top1 or model.nll > base.nll)
    ]
    if not below:
        return {}
    some = {name: scores[name] for name in (GENERALIST, *below)}
    units, n_bootstrap = context.split(split).units.numpy(), context.config.evaluation.n_bootstrap
    samples = resample(some, n_bootstrap, found.seed, units)
    pairs = [(name, GENERALIST) for name in below]
    compared = differences(some, samples, found.seed, pairs)
    return {name: _flaw([d for d in compared if d.a == name], found.models) for name in below}


def _flaw(compared: Sequence[Difference], models: Mapping[str, ModelScores]) -> str:
    """In what the first is worse than the generalist, or only looks so: the interval holds 0."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for gap in compared:
        a, b = (models[name].mean(gap.metric) for name in (gap.a, gap.b))
        if gap.metric == "top1" and a < b:
            told[gap.sign < 0].append(f"in top-1 ({percent(a, 2)} against {percent(b, 2)})")
        elif gap.metric == "nll" and a > b:
            told[gap.sign < 0].append(f"in NLL ({a:.3f} against {b:.3f} nats)")
    clear, unclear = map(enumerated, told.values())
    worse = [f"is worse than the generalist {clear}"] * bool(clear)
    return "; ".join(
        worse + [f"has no clear difference to the generalist {unclear}"] * bool(unclear)
    )


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
