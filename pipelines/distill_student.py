"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone."""

from __future__ import annotations

from specialists.feasibility import check_run
from specialists.runs import Run, write_json

from .stage import Stage
from .terminal import log


def execute(run: Run) -> None:
    """Cache soft targets, train a student of each temperature and weight, keep the best."""
    from specialists.distillation import best_trial
    from specialists.workspace import Workspace

    from .soft_targets import write_soft_targets
    from .student_tasks import STUDENTS, student_tasks
    from .student_training import publish, train_students

    workspace = Workspace.open(run.folder)
    write_soft_targets(workspace)
    tasks = student_tasks(workspace)
    if workspace.config.student.teacher == "live" and workspace.augment is None:
        log.info(f"{STAGE.name}: a live teacher says what is stored, since data.augment is off")
    results = train_students(tasks, run.jobs)
    trials = []
    for model in STUDENTS:
        among = [i for i, task in enumerate(tasks) if task.model == model]
        best = best_trial(results, among)
        publish(tasks[best].folder, workspace.path(STAGE.name, model))
        trials += [
            {
                **tasks[i].settings(),
                "validation_loss": results[i].loss,
                "validation_top1": results[i].top1,
                "chosen": i == best,
                "training": f"{STAGE.name}/trials/{tasks[i].folder.name}",
            }
            for i in among
        ]
        log.info(f"{STAGE.name}: {model}, validation top-1 {results[best].top1:.3f}")
    write_json(workspace.path(STAGE.name, "trials.json"), trials)


STAGE = Stage(
    name="distill-student",
    sections=("seed", "device", "precision", "data", "generalist", "specialists", "student"),
    inputs=(
        "prepare-data/dataset.json",
        "prepare-data/train.*",
        "prepare-data/validation.*",
        "train-generalist/*",
        "cluster-classes/clusters.json",
        "train-specialists/specialist-*/*",
        "combine-predictions/choice.json",
        "combine-predictions/validation.*",
    ),
    execute=execute,
    check=check_run,
    files=("student.unlabelled",),
)
