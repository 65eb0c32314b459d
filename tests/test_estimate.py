"""What a run will take is counted from its settings and its data, before anything is trained."""

import dataclasses
import itertools

import pytest
import small_run
import torch

from pipelines import forecast, stages
from pipelines.context import RunContext
from pipelines.pieces import shape_of
from specialists.config import Config
from specialists.datasets.base import Ragged
from specialists.feasibility import DataShape, rates
from specialists.feasibility.estimate import Part, Planner, RunEstimate
from specialists.feasibility.rates import StepRate, measured_rate, rows_read
from specialists.feasibility.trainings import (
    CLUSTERED,
    CROSS_FITTED,
    GENERALIST,
    INDEPENDENT,
    RIVALS,
    SHARED,
    STUDENTS,
    planned_trainings,
)
from specialists.runtime import Hardware, spoken_time

SHAPE = DataShape("features", 12, 480, 120, (small_run.DIM,))
RATE = StepRate(seconds=1e-3, flops=1e3, dense=500)


def planned(**sections):
    values = {**small_run.SETTINGS, "data": {"arrays": "x.npz"}}
    for name, changes in sections.items():
        values[name] = {**values[name], **changes}
    config = Config.from_dict(values).resolve("features")
    return {plan.kind: plan for plan in planned_trainings(config, SHAPE)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A run whose data are prepared, and nothing else."""
    run = small_run.make_run(tmp_path_factory.mktemp("estimate") / "run")
    with run.lock():
        stages.run_stages(run, "prepare-data")
    return run


def test_the_trainings_of_a_run_are_those_that_its_settings_ask_for():
    plans = planned()
    assert {kind: plan.n for kind, plan in plans.items()} == {
        GENERALIST: 1,
        CLUSTERED: 3,
        STUDENTS: 2,
    }
    assert plans[GENERALIST].examples == 3 * 480
    assert plans[CLUSTERED].n_epoch == 480 / 3 * 2  # as many of the others as of its own
    assert plans[CLUSTERED].spec.n_outputs == 5  # four classes and the dustbin


@pytest.mark.parametrize(
    ("changes", "kind", "n", "n_epoch"),
    [
        ({"clusters": {"predictions": "cross-fitted"}}, CROSS_FITTED, 2, 240),
        ({"specialists": {"start": "independent"}}, INDEPENDENT, 1, 480),
        ({"specialists": {"kind": "both"}}, SHARED, 1, 480),
        ({"student": {"alphas": [0.5, 0.7, 1.0]}}, STUDENTS, 6, 480),
        ({"clusters": {"coverage": 2}}, CLUSTERED, 3, 640),
    ],
)
def test_further_trainings_are_counted(changes, kind, n, n_epoch):
    plan = planned(**changes)[kind]
    assert (plan.n, plan.n_epoch) == (n, n_epoch)


def test_a_training_that_may_end_early_sees_half_of_its_examples_at_least():
    plan = planned(generalist={"epochs": 10, "patience": 2})[GENERALIST]
    assert (plan.fewest, plan.examples) == (5 * 480, 10 * 480)


def parts_of(run, standing=None, jobs=1, **changes) -> dict[str, Part]:
    dataset = forecast._dataset(run, False)
    config = run.config.resolve("features")
    evaluation = config.evaluation.model_copy(update=changes)
    config = config.model_copy(update={"evaluation": evaluation})
    plans = planned_trainings(config, shape_of(dataset))
    planner = Planner(config, dataset, jobs)
    parts = planner.parts([(plan, RATE) for plan in plans], RATE, standing or {})
    return {part.kind: part for part in reversed(parts)}  # trainings stand first


def test_seconds_are_examples_times_the_measured_rate(prepared):
    parts = parts_of(prepared)
    judged = 3 * 60 / 3  # validation rows of three epochs, a prediction being a third of a step
    assert parts[GENERALIST].most == pytest.approx(1e-3 * (3 * 480 + judged))
    assert parts[CLUSTERED].most == pytest.approx(1e-3 * 3 * (2 * 320 + 2 * 20))


def test_what_stands_already_is_left_out(prepared):
    parts = parts_of(prepared, {CLUSTERED: 2, GENERALIST: 1})
    assert (parts[CLUSTERED].n, parts[GENERALIST].n, parts[GENERALIST].most) == (1, 0, 0)


def test_baselines_are_matched_to_the_ensemble_by_operations(prepared):
    every, averaged = parts_of(prepared), parts_of(prepared, baselines=("generalist_ensemble",))
    own, further = 3 * 480 * 1e3, 480 * 1e3 / 3 + 3 * 2 * 320 * 1e3
    of_all = further + 1.75 * (own + further) + 2 * own
    assert every[RIVALS].most == pytest.approx(of_all / 1e3 * 1e-3)
    assert (averaged[RIVALS].n, averaged[RIVALS].most) == (2, pytest.approx(2 * own * 1e-6))


def test_two_at_a_time_need_more_memory(prepared):
    assert parts_of(prepared, jobs=2)[CLUSTERED].memory > parts_of(prepared)[CLUSTERED].memory


def test_a_measured_step_trains_nothing_and_draws_no_random_number(prepared):
    plans = planned_trainings(prepared.config.resolve("features"), SHAPE)
    train = forecast._dataset(prepared, False).train
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    found = [measured_rate(plan, train, Hardware("cpu", "float32")) for plan in plans]
    assert torch.rand(1) == expected
    assert all(rate.seconds > 0 and rate.flops > 0 for rate in found)


def test_slow_first_steps_are_not_those_that_count(prepared, monkeypatch):
    context = RunContext.open(prepared.folder)
    (plan, *_) = planned_trainings(context.config, SHAPE)
    lasting = [0.9, 0.8, *([0.01] * 40)]
    ends = itertools.accumulate(itertools.chain.from_iterable((0.0, took) for took in lasting))
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(ends))
    measured = measured_rate(plan, context.dataset.train, Hardware("cpu", "float32"))
    assert measured.seconds == pytest.approx(0.01 / (plan.recipe.batch_size or 1))


def test_rows_of_a_table_that_no_input_reads_are_not_stored():
    assert rows_read(Ragged(torch.tensor([1, 9, 2]), torch.tensor([0, 2, 3])), 8) == 2


def test_an_estimate_is_said_in_two_digits():
    told = forecast.spoken(RunEstimate(95, 210, 1.234e9, 287e6))
    assert told.startswith("takes about 2 to 4 minutes, 1.2 GB of memory and 290 MB of disk on ")
    freed = forecast.spoken(RunEstimate(95, 210, 1.234e9, 287e6), clean=True)
    assert "290 MB of disk (less when it is finished) on" in freed
    assert forecast.spoken(RunEstimate(2, 3, 1e9, 1e6)).startswith("takes a few seconds, ")
    assert spoken_time(3) == "a few seconds"
    assert spoken_time(200_000) == "2.5 days"


def test_a_dry_run_tells_the_plan_and_writes_nothing(tmp_path):
    made = small_run.make_run(tmp_path / "made")
    run = type(made)(tmp_path / "new")
    lines = list(forecast.dry_run(run, made.config))
    assert lines[2].split(maxsplit=1) == ["train-generalist", "trains 1 generalist"]
    assert lines[4].split(maxsplit=1) == ["train-specialists", "trains 3 specialists"]
    assert lines[-1].startswith("this takes about ")
    assert not run.folder.exists()


def test_what_cannot_be_told_is_said_without_a_traceback(prepared, capsys, monkeypatch):
    monkeypatch.setattr(forecast, "planned_trainings", lambda *_: 1 / 0)
    forecast.log_forecast(prepared)
    assert "cannot be told (division by zero)" in capsys.readouterr().out
    assert "cannot be told" in list(forecast.plan_lines(prepared))[-1]


def test_a_prepared_run_tells_what_it_takes(prepared, capsys):
    forecast.log_forecast(prepared)
    assert capsys.readouterr().out.startswith("this run takes about ")


def test_parts_are_added_but_memory_is_that_of_the_largest():
    part = Part("a", 1, 1.0, 2.0, 30.0, 5.0)
    larger = dataclasses.replace(part, memory=40.0)
    assert RunEstimate.of([part, larger]) == RunEstimate(2.0, 4.0, 40.0, 10.0)
