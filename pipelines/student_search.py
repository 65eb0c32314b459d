"""Which candidate becomes the student, and which one its network with hard labels?

Both have as many candidates, and as many in each rung (:mod:`specialists.distillation.halving`);
without a search there is one rung, in which all are trained in full. Every training is a resumable
result, so that a search that was killed goes on where it stopped, and ends with the same result.
A candidate whose loss does not stay finite has lost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from specialists.catalogue import HARD_LABELS, STUDENT, STUDENTS
from specialists.distillation import Rung, best_first, rungs_of
from specialists.errors import TrainingError
from specialists.evaluation import TunedCandidate
from specialists.files import copy_file, read_json, write_json
from specialists.report.numbers import compact
from specialists.training import FitResult, TrainingCost, logged_seconds

from .classifiers import MODEL, train_tasks
from .context import RunContext
from .pieces import ALONE, TOGETHER, rung_piece
from .runs import Run
from .soft_targets import STAGE
from .student_task import DIVERGED, StudentTask
from .terminal import log


@dataclass(frozen=True)
class Trial:
    """A candidate in one rung, with what came of it.

    Parameters
    ----------
    task : StudentTask
    candidate : int
        Its number among those of the same model.
    rung : Rung
    result : FitResult
    is_chosen : bool
    """

    task: StudentTask
    candidate: int
    rung: Rung
    result: FitResult
    is_chosen: bool = False

    def to_dict(self, stage: str) -> dict[str, object]:
        """For ``trials.json``."""
        result = self.result
        return {
            **self.task.settings(),
            "searched": dict(self.task.searched),
            "candidate": self.candidate,
            "rung": self.rung.number,
            "share": self.rung.share,
            "validation_loss": result.loss if math.isfinite(result.loss) else None,
            "validation_top1": result.top1,
            **result.cost.to_dict(),
            "chosen": self.is_chosen,
            "training": f"{stage}/trials/{self.task.folder.name}",
        }


def train_and_choose(
    context: RunContext, tasks: Sequence[StudentTask], jobs: int, stage: str = STAGE
) -> None:
    """Train the candidates of both kinds, rung by rung, and keep the best; writes ``trials.json``.

    Where candidates have different networks, hard labels are tried on the network that won.
    """
    context.check_networks()
    of_model = {name: [task for task in tasks if task.model == name] for name in STUDENTS}
    if len({_network_of(task) for task in of_model[STUDENT]}) == 1:
        trials = _search(context, of_model, jobs, stage, TOGETHER)
    else:
        trials = _search(context, {STUDENT: of_model[STUDENT]}, jobs, stage, TOGETHER)
        spec = next(trial.task.spec for trial in trials if trial.is_chosen)
        hard = [
            replace(task, spec=replace(spec, dropout=task.spec.dropout))
            for task in of_model[HARD_LABELS]
        ]
        trials += _search(context, {HARD_LABELS: hard}, jobs, stage, ALONE)
    for trial in trials:
        if trial.is_chosen:
            for name in (*MODEL, "result.json", "metrics.jsonl"):
                copy_file(trial.task.folder / name, context.path(stage, trial.task.model, name))
    trials.sort(key=lambda trial: STUDENTS.index(trial.task.model))
    write_json(context.path(stage, "trials.json"), [trial.to_dict(stage) for trial in trials])


def _search(
    context: RunContext,
    of_model: Mapping[str, Sequence[StudentTask]],
    jobs: int,
    stage: str,
    description: str,
) -> list[Trial]:
    """Every trial of these models, those of the first rung first."""
    settings = context.config.student
    select_by = settings.tuning.select_by if settings.tuning else "top1"
    rungs = rungs_of(settings, len(next(iter(of_model.values()))))
    left = {model: list(range(len(tasks))) for model, tasks in of_model.items()}
    trials: list[Trial] = []
    for rung, after in itertools.zip_longest(rungs, rungs[1:]):
        now = [(i, in_rung(of_model[model][i], rung)) for model in left for i in left[model]]
        piece = rung_piece(description, rung, len(rungs))
        results = train_students([task for _, task in now], jobs, piece)
        tried = [Trial(task, i, rung, r) for (i, task), r in zip(now, results, strict=True)]
        for model in left:
            ours = [trial for trial in tried if trial.task.model == model]
            best = [ours[i] for i in best_first([trial.result for trial in ours], select_by)]
            _check_any_learned(best[0])
            kept = [t for t in best if math.isfinite(t.result.loss)][: after.n if after else 1]
            left[model] = sorted(trial.candidate for trial in kept)
            trials += [replace(t, is_chosen=after is None and t is best[0]) for t in ours]
            if after is not None:
                log.info(f"{stage}: {_rung_in_words(best, rung, len(rungs), len(kept))}")
            else:
                log.info(f"{stage}: {_choice_in_words(best[0], trials, len(rungs))}")
    return trials


def in_rung(task: StudentTask, rung: Rung) -> StudentTask:
    """A candidate's training in a rung; a whole one is that of its settings without a search."""
    if rung.share == 1:
        return task
    folder = task.folder.with_name(f"{task.folder.name}-rung-{rung.number}")
    return replace(task, share=rung.share, folder=folder)


def in_any_rung(context: RunContext, tasks: Sequence[StudentTask]) -> list[StudentTask]:
    """Every training that a search may come to."""
    rungs = rungs_of(context.config.student, len(tasks) // len(STUDENTS))
    return [in_rung(task, rung) for rung in rungs for task in tasks]


def train_students(
    tasks: Sequence[StudentTask], jobs: int, description: str = TOGETHER
) -> list[FitResult]:
    """Train what does not yet stand, several at a time; what came of each trial."""
    train_tasks(tasks, jobs, description)
    return [_result_of(task.folder) for task in tasks]


def candidate_in_words(trial: Mapping[str, object]) -> str:
    """An entry of ``trials.json``, for instance "temperature 2, alpha 0.7, epochs 30"."""
    own = ("learning_rate", "label_smoothing")
    if trial["model"] == STUDENT:
        own = ("temperature", "alpha")
    searched = trial["searched"]
    assert isinstance(searched, Mapping)
    told = {key: trial[key] for key in own if trial[key] is not None} | dict(searched)
    pairs = (f"{key} {f'{v:g}' if isinstance(v, float) else v}" for key, v in told.items())
    return ", ".join(pairs).replace("_", " ")


def search_costs(trials: Sequence[Mapping[str, float]]) -> TrainingCost:
    """Of all trainings of these entries of ``trials.json``."""
    return sum(map(TrainingCost.from_dict, trials), TrainingCost())


def tuned_candidates(run: Run) -> tuple[TunedCandidate, ...]:
    """The candidates of a run's search, each in its last rung; none without a search."""
    if run.config.student.tuning is None:
        return ()
    of_candidate: dict[tuple[str, int], list[dict]] = {}
    for trial in read_json(run.path(STAGE, "trials.json")):
        of_candidate.setdefault((trial["model"], trial["candidate"]), []).append(trial)
    n_rungs = max(trial["rung"] for trials in of_candidate.values() for trial in trials)
    return tuple(_tuned(run, trials, n_rungs) for trials in of_candidate.values())


def _tuned(run: Run, trials: Sequence[dict], n_rungs: int) -> TunedCandidate:
    last = max(trials, key=lambda trial: trial["rung"])
    return TunedCandidate(
        model=last["model"],
        settings=candidate_in_words(last),
        rung=last["rung"],
        n_rungs=n_rungs,
        share=last["share"],
        top1=last["validation_top1"],
        loss=last["validation_loss"],
        training_flops=search_costs(trials).flops,
        training_seconds=sum(logged_seconds(run.path(trial["training"])) for trial in trials),
        is_chosen=last["chosen"],
    )


def _result_of(folder: Path) -> FitResult:
    result = read_json(folder / "result.json")
    if DIVERGED in result:
        return FitResult(0, math.inf, 0.0, TrainingCost.from_dict(result))
    return FitResult.from_dict(result)


def _check_any_learned(best: Trial) -> None:
    if math.isinf(best.result.loss):
        raise TrainingError(read_json(best.task.folder / "result.json")[DIVERGED])


def _network_of(task: StudentTask) -> str:
    """What its network is, but for dropout, which is the recipe's."""
    return str(replace(task.spec, dropout=0.0).to_dict())


def _rung_in_words(best: Sequence[Trial], rung: Rung, n_rungs: int, n_kept: int) -> str:
    first, lost = best[0], sum(math.isinf(trial.result.loss) for trial in best)
    which = candidate_in_words(first.to_dict(""))
    diverged = f", {lost} did not stay finite" * (lost > 0)
    return (
        f"{first.task.model}, rung {rung.number} of {n_rungs}: {len(best)} candidates for 1/"
        f"{1 / rung.share:.0f} of their epochs, best validation top-1 {first.result.top1:.3f} "
        f"({which}){diverged}; {n_kept} go{'es' * (n_kept == 1)} on"
    )


def _choice_in_words(chosen: Trial, trials: Sequence[Trial], n_rungs: int) -> str:
    model = chosen.task.model
    told = f"{model}, validation top-1 {chosen.result.top1:.3f}"
    if n_rungs == 1:
        return told
    flops = sum(t.result.cost.flops for t in trials if t.task.model == model)
    times = flops / max(chosen.result.cost.flops, 1.0)
    which = candidate_in_words(chosen.to_dict(""))
    return (
        f"{told} ({which}); its search took {compact(flops)} training FLOPs, {times:.1f} times "
        "those of the chosen training"
    )
