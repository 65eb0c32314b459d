"""Every student has a row, equally many trials, and figures that its own files give."""

import dataclasses
import shutil

import numpy as np
import pytest
import small_run

from pipelines import stages
from pipelines.benchmarks.measured import Measured
from pipelines.benchmarks.student_trials import StudentPlan, StudentRow, student_trials
from pipelines.benchmarks.students import (
    Taught,
    main,
    measure_students,
    on_test_set,
    students_table,
)
from pipelines.context import RunContext
from pipelines.runs import Run
from specialists.catalogue import ENSEMBLE
from specialists.errors import InputError
from specialists.files import read_json, write_json
from specialists.networks import load_network
from specialists.training import TrainingCost

TINY = StudentPlan(
    sizes=(0.5,), temperatures=(2.0,), alphas=(0.7, 1.0), long_sizes=(0.5,), rates=(5.0,)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("students")
    run = small_run.make_run(folder / "settings")
    changes = ("combination.rules=['kl']", "data.augment=true")
    run = small_run.changed_copy(run, folder / "run", *changes)
    stages.run_stages(run, "combine-predictions")
    return run


@pytest.fixture(scope="module")
def found(run):
    return measure_students(run, TINY)


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_row_has_as_many_trials_and_none_is_tried_twice(run, found):
    trials = student_trials(RunContext.open(run.folder), TINY)
    assert {len(tasks) for tasks in trials.values()} == {2}
    keys = [str((task.settings(), task.recipe.epochs)) for own in trials.values() for task in own]
    assert len(set(keys)) == len(keys)
    assert len({row.slug for row in trials}) == len(trials) == 15
    online = [
        (row.teacher, task.online) for row, own in trials.items() if row.online for task in own
    ]
    assert len(online) == 4 * 2
    assert all(teacher == asked for teacher, asked in online)
    assert all(task.online is None for row, own in trials.items() if not row.online for task in own)


def test_no_teacher_is_asked_online_what_is_stored(run):
    workspace = RunContext.open(run.folder)
    data = workspace.config.data.model_copy(update={"augment": False})
    config = workspace.config.model_copy(update={"data": data})
    plain = student_trials(dataclasses.replace(workspace, config=config), TINY)
    assert len(plain) == 11
    assert not any(row.online for row in plain)


def test_the_table_holds_what_the_chosen_trials_said(run, found):
    rows = cells(students_table([found]))
    assert {len(row) for row in rows} == {7}
    assert [row[1] for row in rows[:2]] == ["`generalist`", "`ensemble`"]
    words = {row[1]: row for row in rows}
    assert len(words) == len(rows) == 2 + 15
    own = words["the ensemble"]
    folder = run.path("students", StudentRow(0.5, ENSEMBLE).slug)
    names = [f"T-2-alpha-{alpha}-rate-1" for alpha in ("0.7", "1")]
    results = [read_json(folder / name / "result.json") for name in names]
    best = max((0, 1), key=lambda i: (results[i]["top1"], -results[i]["loss"]))
    network, _, _ = load_network(folder / names[best])
    workspace = RunContext.open(run.folder, test_labels=True)
    test = workspace.dataset.test
    top1 = (network(test.inputs).argmax(1) == test.labels).double().mean()
    assert own[3].startswith(f"{100 * top1:.2f} [")
    assert own[6].startswith(f"T 2, alpha {(0.7, 1.0)[best]:g}, rate 0.05")
    assert int(own[2].replace(",", "")) == results[best]["parameters"]
    assert "rate 0.25" in words["the ensemble, 10% of the labels, 5x rate"][6]


def test_a_refused_ensemble_is_told(run, found, tmp_path):
    assert found.refused is False
    copy = shutil.copytree(run.folder, tmp_path / "run")
    choice = read_json(copy / "combine-predictions" / "choice.json")
    admission = {**choice["admission"], "outcome": "refused"}
    write_json(copy / "combine-predictions" / "choice.json", {**choice, "admission": admission})
    assert on_test_set(Run(copy), {}).refused is True


def test_finished_trials_are_kept(run, found):
    files = list(run.path("students").rglob("result.json"))
    before = [file.stat().st_mtime_ns for file in files]
    again = measure_students(run, TINY)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert len(files) == 30
    assert students_table([again]) == students_table([found])


def test_the_command_line_makes_the_plan_and_keeps_what_another_grid_found(run, found, capsys):
    files = list(run.path("students").rglob("result.json"))
    before = {file: file.stat().st_mtime_ns for file in files}
    main(
        [
            str(run.folder),
            "--sizes",
            "0.5",
            "--parts",
            "all-labels",
            "--temperatures",
            "2",
            "--alphas",
            "1",
        ]
    )
    printed = {row[1]: row for row in cells(capsys.readouterr().out)}
    assert len(printed) == 2 + 4
    assert printed["the ensemble"][6].startswith("T 2, alpha 1, ")
    assert printed["`ensemble`"] == cells(students_table([found]))[1]
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert set(run.path("students").rglob("result.json")) == set(before)


@pytest.mark.parametrize(
    "grid",
    [
        {"temperatures": (0.0,)},
        {"temperatures": (float("inf"),)},
        {"alphas": (-0.5,)},
        {"sizes": (0.0,)},
        {"sizes": (1.0, -1.0)},
        {"sizes": (1e-5,)},
        {"sizes": (float("nan"),)},
    ],
)
def test_a_wrong_grid_is_refused_before_anything_is_trained(grid):
    with pytest.raises(InputError, match="--"):
        StudentPlan(**grid)


TWO = StudentPlan(sizes=(1.0,), parts=("all-labels",))
NAMES = ("generalist", "ensemble", *(row.slug for row in TWO.rows()))


def made_up(seed: int, *shares: float, test_set: int = 0) -> Taught:
    """A run in which each of ``NAMES`` is right on its share of 2,000 test rows."""
    rng = np.random.default_rng(seed)
    models = {}
    for name, share in zip(NAMES, shares, strict=True):
        right = (rng.random(2000) < share).astype(float)
        about = f"rate 0.1, smoothing {test_set}"
        cost = TrainingCost()
        models[name] = Measured(right, 1 - right, str(test_set), cost, 1.0, 7, about)
    rows = {row.slug: row for row in TWO.rows()}
    return Taught("made up", models, rows, refused=seed > 0)


@pytest.mark.parametrize("new_split", [False, True])
def test_several_runs_give_means_spread_and_what_is_kept_of_the_gain(new_split):
    shares = (0.5, 0.8, 0.4, 0.4, 0.5, 0.7)
    runs = [made_up(seed, *shares, test_set=seed * new_split) for seed in range(2)]
    rows = cells(students_table(runs))
    means = [np.mean([run.models[name].right.mean() for run in runs]) for name in NAMES]
    spread = np.std([run.models[NAMES[5]].right.mean() for run in runs], ddof=1)
    assert rows[5][3].startswith(f"{100 * means[5]:.2f} ± {100 * spread:.2f} [")
    assert rows[5][4].startswith(f"{100 * (means[5] - means[0]):+.2f} ± ")
    low, high = (float(end) for end in rows[5][4].split("[")[1].strip("]").split(","))
    assert low < 100 * (means[5] - means[0]) < high
    # 1.96 sqrt((0.25 + 0.21) / 4000) is 2.1 points to either side; a spread over two seeds adds.
    assert 3 < high - low < 40
    kept = (means[5] - means[2]) / (means[1] - means[2])
    assert rows[5][5].startswith(f"{kept:.0%} [")
    assert rows[2][5] == ""
    assert "In 1 of 2 runs held-out rows kept the specialists out" in students_table(runs)
    assert ("(1 of 2)" in rows[2][6], "(2 of 2)" in rows[2][6]) == (new_split, not new_split)


def test_nothing_is_kept_where_there_is_no_clear_gain():
    rows = cells(students_table([made_up(0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)]))
    assert rows[5][5].startswith("undefined: ensemble - hard is ")
    assert "kept the specialists out" not in students_table([made_up(0, *[0.5] * 6)])


def test_no_share_is_told_of_a_student_that_is_not_clearly_better_than_hard_labels():
    rows = cells(students_table([made_up(0, 0.5, 0.8, 0.4, 0.4, 0.5, 0.39)]))
    assert rows[5][5].startswith("nothing clear: it - hard is ")


def test_drawn_seeds_do_not_lead_out_of_what_is_possible():
    apart = [made_up(seed, *shares) for seed, shares in enumerate([[0.1] * 6, [0.9] * 6])]
    line = cells(students_table(apart))[1]
    assert line[3].endswith("[0.00, 100.00]")


def test_a_run_given_twice_is_refused(run):
    with pytest.raises(InputError, match="more than once"):
        main([str(run.folder), str(run.folder / "." / "")])


def test_runs_with_different_students_are_refused():
    first, other = made_up(0, *[0.5] * 6), made_up(0, *[0.5] * 6)
    del other.models[NAMES[5]]
    with pytest.raises(InputError, match="cannot be compared"):
        students_table([first, other])


def test_a_run_without_ensemble_is_refused(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "combine-predictions")
    with pytest.raises(InputError, match="no ensemble to learn from"):
        measure_students(Run(tmp_path / "run"), TINY)


def test_more_soft_trials_than_rates_are_refused(run):
    plan = StudentPlan(sizes=(0.5,), temperatures=tuple(range(1, 7)))
    with pytest.raises(InputError, match="at most 9"):
        student_trials(RunContext.open(run.folder), plan)
