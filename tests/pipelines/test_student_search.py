"""A student's recipe is searched by successive halving, and so is that of hard labels."""

import math
from collections import Counter

import pytest
import small_run
from typer.testing import CliRunner

from pipelines import stages, student_search
from pipelines.__main__ import app
from pipelines.context import RunContext
from pipelines.distill_student import spec_of_size, student_outputs, student_tasks
from pipelines.forecast import plan_lines
from pipelines.runs import Run
from pipelines.student_search import in_any_rung, tuned_candidates
from pipelines.student_task import StudentTask
from specialists.errors import DivergedError, TrainingError
from specialists.files import read_json, sha256
from specialists.networks import read_spec
from specialists.training import FitResult, TrainingCost, logged_seconds

pytestmark = pytest.mark.xdist_group("small_run")

MODELS = ("student", "student_hard_labels")
RATES = "student.tuning.search.learning_rate=[1e-5, 0.05, 3e-5, 1e-4]"
SEARCH = ("student.epochs=8", "student.learning_rate=", RATES, "student.tuning.eta=2")


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """A run whose predictions are combined."""
    folder = tmp_path_factory.mktemp("search")
    empty = small_run.make_run(folder / "empty")
    own = "combination.rules=['kl']", "combination.admission=off", "student.epochs=4"
    run = small_run.changed_copy(empty, folder / "run", *own)
    stages.run_stages(run, "combine-predictions")
    return run


@pytest.fixture(scope="module")
def searched(combined):
    """The same with a student that was searched for; one learning rate is clearly the best."""
    run = small_run.changed_copy(combined, combined.folder.parent / "searched", *SEARCH)
    stages.run_stages(run, "distill-student")
    return run


def trials_of(run: Run, model: str) -> list[dict]:
    trials = read_json(run.path("distill-student", "trials.json"))
    return [trial for trial in trials if trial["model"] == model]


def test_the_candidate_that_is_clearly_best_is_the_student(searched):
    for model in MODELS:
        (chosen,) = (trial for trial in trials_of(searched, model) if trial["chosen"])
        assert (chosen["learning_rate"], chosen["share"]) == (0.05, 1)
    soft, hard = ({key for t in trials_of(searched, m) for key in t["searched"]} for m in MODELS)
    assert (soft, hard) == ({"learning_rate"}, set())  # hard labels have rates of their own


def test_each_rung_trains_fewer_for_longer_and_hard_labels_have_as_many(searched):
    for model in MODELS:
        trials = trials_of(searched, model)
        assert Counter(trial["rung"] for trial in trials) == {1: 4, 2: 2, 3: 1}
        seen = {(trial["rung"], trial["training_examples"]) for trial in trials}
        assert seen == {(1, 2 * 480), (2, 4 * 480), (3, 8 * 480)}
        for rung in (1, 2):
            scores = {t["candidate"]: t["validation_top1"] for t in trials if t["rung"] == rung}
            left = {t["candidate"] for t in trials if t["rung"] == rung + 1}
            assert min(scores[i] for i in left) >= max(scores[i] for i in scores.keys() - left)


def test_the_winner_is_the_network_that_its_settings_alone_make(searched, tmp_path):
    plain = ("student.tuning=", "student.learning_rate=0.05")
    run = small_run.changed_copy(searched, tmp_path / "run", *plain)
    stages.run_stages(run, "distill-student")
    weights = [each.path("distill-student/student/weights.safetensors") for each in (run, searched)]
    assert sha256(weights[0]) == sha256(weights[1])


def test_a_search_that_is_killed_between_rungs_goes_on_and_ends_the_same(
    combined, searched, tmp_path, monkeypatch, capsys
):
    run = small_run.changed_copy(combined, tmp_path / "run", *SEARCH)
    train, called = student_search.train_students, []

    def killed(tasks, jobs, description):
        if called:
            raise KeyboardInterrupt
        called.append(description)
        return train(tasks, jobs, description)

    monkeypatch.setattr(student_search, "train_students", killed)
    with pytest.raises(KeyboardInterrupt):
        stages.run_stages(run, "distill-student")
    monkeypatch.undo()
    assert called == ["students, rung 1"]
    (line,) = (line for line in plan_lines(run, "distill-student") if line.startswith("distill"))
    assert "trains 6 students" in line  # of 14
    trials = run.path("distill-student", "trials")
    before = {file: file.stat().st_mtime_ns for file in trials.rglob("weights.safetensors")}
    assert len(before) == 8
    capsys.readouterr()
    stages.run_stages(run, "distill-student")
    assert {file: file.stat().st_mtime_ns for file in before} == before
    ours, theirs = (small_run.all_but_times(r.path("distill-student")) for r in (run, searched))
    assert ours == theirs
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "rung" in line]
    assert len(told) == 4
    assert "student, rung 1 of 3: 4 candidates for 1/4 of their epochs, best valid" in told[0]
    assert "(temperature 2, alpha 0.7, learning rate 0.05); 2 go on" in told[0]
    assert "student_hard_labels, rung 2 of 3: 2 candidates for 1/2" in told[3]
    assert told[3].endswith("; 1 goes on")
    chosen = [line for line in lines if "its search took" in line]
    assert len(chosen) == 2
    assert chosen[0].endswith("3.0 times those of the chosen training")


def test_all_trainings_of_a_search_are_counted(searched):
    outputs = student_outputs(searched, "test")
    for model in MODELS:
        trials, (chosen,) = trials_of(searched, model), [
            trial for trial in trials_of(searched, model) if trial["chosen"]
        ]  # fmt: skip
        assert outputs[model].training_flops == pytest.approx(3 * chosen["training_flops"])
        assert outputs[model].training_examples == 3 * 8 * 480
        assert outputs[model].tuning_trials == 4
        assert sorted(outputs[model].trainings) == sorted(trial["training"] for trial in trials)


def test_what_each_candidate_cost_is_kept_for_the_report(searched):
    found = tuned_candidates(searched)
    assert Counter(each.model for each in found) == dict.fromkeys(MODELS, 4)
    (best,) = (each for each in found if each.is_chosen and each.model == "student")
    assert best.settings == "temperature 2, alpha 0.7, learning rate 0.05"
    assert (best.rung, best.n_rungs, best.share) == (3, 3, 1)
    folder = searched.path("distill-student", "trials")
    own = [folder / name for name in ("soft-1-rung-1", "soft-1-rung-2", "soft-1")]
    assert best.training_seconds == pytest.approx(sum(map(logged_seconds, own)))
    flops = [read_json(each / "result.json")["training_flops"] for each in own]
    assert best.training_flops == pytest.approx(sum(flops))
    first = next(each for each in found if each.rung == 1)
    assert (first.share, first.is_chosen) == (0.25, False)


def test_other_seeds_and_shares_make_other_trainings(searched):
    context = RunContext.open(searched.folder)
    tasks = student_tasks(context, spec_of_size(context))
    every = in_any_rung(context, tasks)
    assert len({str(task.key(context)) for task in every}) == len(every) == 3 * 8


def test_each_candidate_has_the_terms_that_are_searched(combined, tmp_path):
    terms = 'student.terms=[{kind = "soft_targets"}, {kind = "labels"}]'
    search = 'student.tuning.search={"terms.1.weight" = [0.1, 0.5]}'
    own = (terms, search, "student.temperatures=", "student.alphas=")
    context = RunContext.open(small_run.changed_copy(combined, tmp_path / "run", *own).folder)
    soft, hard = (
        [task for task in student_tasks(context, spec_of_size(context)) if task.model == model]
        for model in MODELS
    )
    assert [task.terms[1].get("weight") for task in soft] == [0.1, 0.5]
    assert [task.searched for task in soft] == [{"terms.1.weight": 0.1}, {"terms.1.weight": 0.5}]
    assert [(task.terms, task.searched) for task in hard] == [((), {})] * 2


def test_where_sizes_are_searched_hard_labels_have_the_network_of_the_winner(combined, tmp_path):
    sizes = "student.tuning.search.size=[0.2, 1.5]"
    online = "student.tuning.search.teacher=['online']"
    own = ("student.width=", sizes, "student.tuning.eta=2", "student.epochs=2", online)
    run = small_run.changed_copy(combined, tmp_path / "run", *own)
    stages.run_stages(run, "distill-student")
    soft, hard = (
        [read_spec(run.path(trial["training"])) for trial in trials_of(run, model)]
        for model in MODELS
    )
    winner = read_spec(run.path("distill-student", "student"))
    assert hard == [winner] * 3
    assert winner in soft
    assert len({spec.width for spec in soft}) == 2
    assert read_spec(run.path("distill-student", MODELS[1])) == winner
    assert [t.get("teacher") for t in trials_of(run, "student")] == ["online"] * 3
    assert [t.get("teacher") for t in trials_of(run, MODELS[1])] == [None] * 3


@pytest.fixture
def scored(combined, tmp_path, monkeypatch):
    """Rows of trials.json, and the tasks, where validation scores are what a function says."""
    written, seen = {}, []
    monkeypatch.setattr(student_search, "copy_file", lambda *_: None)
    monkeypatch.setattr(student_search, "write_json", lambda path, rows: written.update(all=rows))

    def search(score, *settings):
        def train(tasks, jobs, description):
            seen.extend(tasks)
            scores, cost = [score(task) for task in tasks], TrainingCost(1, 1.0)
            return [FitResult(1, loss, top1, cost) for loss, top1 in scores]

        monkeypatch.setattr(student_search, "train_students", train)
        context = RunContext.open(
            small_run.changed_copy(combined, tmp_path / "run", *settings).folder
        )
        student_search.train_and_choose(context, student_tasks(context, spec_of_size(context)), 1)
        return written["all"], seen

    return search


def test_candidates_are_compared_by_the_score_that_is_set(scored):
    def by_rate(task):
        return {1e-5: (0.4, 0.9), 0.05: (0.3, 0.5)}.get(task.recipe.learning_rate, (0.5, 0.6))

    trials, _ = scored(by_rate, *SEARCH, "student.tuning.select_by=loss")
    chosen = [trial for trial in trials if trial["chosen"] and trial["model"] == "student"]
    assert [trial["learning_rate"] for trial in chosen] == [0.05]


def test_without_a_search_the_best_of_all_is_the_student(scored):
    def by_weight_or_smoothing(task):
        return 0.5, task.alpha or task.recipe.label_smoothing

    trials, _ = scored(by_weight_or_smoothing, "student.alphas=[0.2, 0.9, 0.5]")
    soft, hard = (trial for trial in trials if trial["chosen"])
    assert (soft["alpha"], hard["label_smoothing"]) == (0.9, 0.2)


def test_no_candidate_that_diverged_fills_up_a_rung(scored):
    def one_learns(task):
        return (0.5, 0.5) if task.folder.name.startswith(("soft-2", "hard-1")) else (math.inf, 0.0)

    trials, _ = scored(one_learns, *SEARCH)
    counts = Counter((trial["model"], trial["rung"]) for trial in trials)
    assert counts == {(model, rung): n for model in MODELS for rung, n in ((1, 4), (2, 1), (3, 1))}
    assert [trial["candidate"] for trial in trials if trial["chosen"]] == [2, 1]
    assert [trial["model"] for trial in trials] == [MODELS[0]] * 6 + [MODELS[1]] * 6


def test_hard_labels_have_the_size_that_won_and_a_dropout_of_their_own(scored):
    def by_size(task):
        return 0.5, task.spec.width / 100 - task.spec.dropout / 1000

    search = "student.tuning.search={size = [0.2, 1.5], dropout = [0.0, 0.3]}"
    trials, tasks = scored(by_size, "student.width=", search, "student.tuning.eta=2")
    soft, hard = ([task.spec for task in tasks if task.model == model] for model in MODELS)
    assert {spec.width for spec in hard} == {max(spec.width for spec in soft)}
    assert {spec.dropout for spec in hard} == {spec.dropout for spec in soft} == {0.0, 0.3}
    assert [trial["model"] for trial in trials] == [MODELS[0]] * 7 + [MODELS[1]] * 7


@pytest.fixture
def diverging(monkeypatch):
    """Trainings at some learning rates go wrong."""
    train = StudentTask._train

    def wrong(rates):
        def risky(task, context, folder):
            if task.recipe.learning_rate in rates:
                raise DivergedError("the training loss is not finite", 64, 1e3)
            train(task, context, folder)

        monkeypatch.setattr(StudentTask, "_train", risky)

    return wrong


def test_a_candidate_that_diverges_has_lost_and_its_cost_counts(
    combined, tmp_path, diverging, capsys
):
    diverging({900.0})
    rates = "student.tuning.search.learning_rate=[900.0, 0.05]"
    own = ("student.learning_rate=", rates, "student.tuning.eta=2", "student.epochs=2")
    run = small_run.changed_copy(combined, tmp_path / "run", *own)
    capsys.readouterr()
    stages.run_stages(run, "distill-student")
    lost, *others = trials_of(run, "student")
    assert (lost["validation_loss"], lost["training_examples"]) == (None, 64)
    assert [trial["learning_rate"] for trial in others] == [0.05, 0.05]
    assert "1 did not stay finite; 1 goes on" in capsys.readouterr().out
    assert tuned_candidates(run)[0].loss is None


def test_where_every_candidate_diverges_that_is_the_error(combined, tmp_path, diverging):
    diverging({900.0, 800.0})
    rates = "student.tuning.search.learning_rate=[900.0, 800.0]"
    own = ("student.learning_rate=", rates, "student.tuning.eta=2")
    run = small_run.changed_copy(combined, tmp_path / "run", *own)
    with pytest.raises(TrainingError, match="loss is not finite"):
        stages.run_stages(run, "distill-student")


def test_a_student_of_another_runs_ensemble_is_searched_for_as_well(combined, tmp_path):
    settings = ("student.epochs=2", "student.learning_rate=", "student.tuning.eta=2")
    settings += ("student.tuning.search.learning_rate=[1e-5, 0.05]",)
    arguments = ["distill", "--teacher", str(combined.folder), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, [*arguments, *(f"--set={each}" for each in settings)]).output
    trials = read_json(tmp_path / "out" / "distill" / "trials.json")
    assert Counter((t["model"], t["rung"]) for t in trials) == {
        (model, rung): n for model in MODELS for rung, n in ((1, 2), (2, 1))
    }
    assert next(t["learning_rate"] for t in trials if t["chosen"]) == 0.05
    assert "distill: student, rung 1 of 2" in told
    online = "--set=student.tuning.search.teacher=['online']"
    assert "not about every batch" in CliRunner().invoke(app, [*arguments, online]).output
