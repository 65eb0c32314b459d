"""Measured times of prediction: how they are taken, kept, averaged and told."""

import dataclasses
import json

import pytest
import torch
from test_seeds import LIKE_THE_ENSEMBLE, compared, made, seed_scores, text_of

from specialists.errors import DamagedError
from specialists.evaluation import (
    Comparison,
    InferenceTimes,
    Milliseconds,
    compare_seeds,
    inference_times,
    mean_times,
    measure_times,
)
from specialists.predictions import DensePredictions
from specialists.report import comparison_markdown
from specialists.report.measured_times import (
    times_cell,
    times_in_words,
    times_note,
)
from specialists.report.numbers import two_digits
from specialists.runtime import processor_name

TIMES = InferenceTimes(
    machine="A CPU, 2 cores",
    threads=2,
    n_rows=1000,
    models={
        "generalist": Milliseconds(0.2, 5.0),
        "ensemble": Milliseconds(0.9, 12.4),
        "student": Milliseconds(0.1, 1.25),
    },
    not_timed={"ensemble_all": "1,000 rows would take up to 40 s"},
)


class Clock:
    """Time that passes only while models work."""

    def __init__(self):
        self.now = 0.0
        self.asked = []

    def perf_counter(self):
        return self.now

    def model(self, name, fixed, each, slow_first=0):
        """A model that takes ``fixed + each n`` seconds.

        In its first calls, and in one that follows another model's, it takes ten times that.
        """
        calls = iter(range(10**6))

        def predict(inputs):
            cold = next(calls) < slow_first or (bool(self.asked) and self.asked[-1][0] != name)
            factor = 10 if cold else 1
            self.asked.append((name, inputs[:, 0].tolist()))
            self.now += factor * (fixed + each * len(inputs))
            return DensePredictions(torch.stack([inputs[:, 0], -inputs[:, 0]], 1).log_softmax(1))

        return predict


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(inference_times, "time", clock)
    monkeypatch.setattr(inference_times, "SECONDS", 4.0)
    monkeypatch.setattr(inference_times, "ALONE", 16)
    return clock


def rows(n):
    """The later, the surer is a model of them."""
    return torch.arange(n).float()[:, None] / n


def test_the_best_round_of_one_row_and_of_the_batch_counts(clock):
    models = {
        "generalist": clock.model("generalist", 0.001, 1e-5),
        "ensemble": clock.model("ensemble", 0.004, 3e-5, slow_first=30),
    }
    times = measure_times(models, rows(4000), "here")
    assert times.n_rows == 1000
    assert times.threads == torch.get_num_threads()
    assert times.models["generalist"].one == pytest.approx(1.01)
    assert times.models["generalist"].batch == pytest.approx(11)
    assert times.over_generalist("ensemble").batch == pytest.approx(34 / 11)
    assert times.over_generalist("ensemble").one == pytest.approx(4.03 / 1.01)


def test_rounds_alternate_over_the_models_and_end(clock):
    models = {name: clock.model(name, 0.0, 1e-6) for name in ("generalist", "ensemble")}
    measure_times(models, rows(1000), "here")
    order = [name for name, values in clock.asked if len(values) == 1000][1:]
    assert order == ["generalist", "ensemble"] * inference_times.MOST_ROUNDS


def test_slow_models_have_fewer_rounds_and_at_least_one(clock):
    models = {
        "generalist": clock.model("generalist", 0.0, 1e-4),
        "ensemble": clock.model("ensemble", 0.0, 1e-3),
        "ensemble_all": clock.model("ensemble_all", 0.0, 3e-3),
    }
    measure_times(models, rows(1000), "here")
    whole = [name for name, values in clock.asked if len(values) == 1000]
    assert {name: whole.count(name) for name in models} == {
        "generalist": 1 + 14,  # of 4 / 3 seconds, and one for the rows' confidences
        "ensemble": 2,
        "ensemble_all": 1,
    }


def test_without_any_time_each_model_has_one_round(clock, monkeypatch):
    monkeypatch.setattr(inference_times, "SECONDS", 0.0)
    models = {name: clock.model(name, 0.001, 1e-5) for name in ("generalist", "ensemble")}
    assert measure_times(models, rows(40), "here").over_generalist("ensemble").one == pytest.approx(
        1
    )


def test_rows_that_are_asked_alone_are_spread_over_confidences(clock):
    times = measure_times({"generalist": clock.model("g", 0.1, 0.0)}, rows(300), "here")
    assert times.n_rows == 300
    alone = [values[0] for _, values in clock.asked if len(values) == 1]
    expected = (torch.linspace(0, 299, 16).long() / 300).tolist()
    assert sorted(set(alone)) == pytest.approx(expected)


def test_names_of_one_function_share_its_time(clock):
    shared = clock.model("shared", 0.001, 1e-5)
    times = measure_times({"generalist": shared, "student": shared}, rows(10), "here")
    assert times.models["generalist"] == times.models["student"]
    assert times.n_rows == 10


def test_what_would_take_too_long_or_fails_has_a_reason(clock):
    def failing(inputs):
        raise RuntimeError("no single row,\nplease")

    models = {
        "generalist": clock.model("generalist", 0.001, 1e-5),
        "ensemble": clock.model("ensemble", 0.05, 0.02),
        "student": failing,
    }
    times = measure_times(models, rows(2000), "here")
    assert list(times.models) == ["generalist"]
    assert times.not_timed == {
        "ensemble": "1,000 rows would take up to 22 s",
        "student": "RuntimeError: no single row,",
    }
    assert max(len(values) for name, values in clock.asked if name == "ensemble") == 32


def test_times_are_read_back_as_they_were_written():
    assert InferenceTimes.from_dict(json.loads(json.dumps(TIMES.to_dict()))) == TIMES
    with pytest.raises(DamagedError, match="machine"):
        InferenceTimes.from_dict({"threads": 2})


def other(machine="A CPU, 2 cores", factor=3.0, **changes):
    """The same times, so many times as long."""
    models = {k: Milliseconds(factor * v.one, factor * v.batch) for k, v in TIMES.models.items()}
    return dataclasses.replace(TIMES, machine=machine, **({"models": models} | changes))


def test_seeds_of_one_machine_have_mean_milliseconds():
    mean = mean_times([TIMES, other()])
    assert mean is not None
    assert mean.models["ensemble"].batch == pytest.approx(2 * 12.4)
    assert (mean.machine, mean.relative) == (TIMES.machine, False)
    assert mean_times([]) is None
    assert mean_times([TIMES]) == TIMES


@pytest.mark.parametrize("changes", [{"machine": "B"}, {"threads": 7}, {"n_rows": 900}])
def test_seeds_of_several_machines_have_times_over_the_generalists(changes):
    mean = mean_times([TIMES, other(**changes)])
    assert mean is not None
    assert (mean.machine, mean.relative) == ("", True)
    assert mean.models["generalist"] == Milliseconds(1.0, 1.0)
    assert mean.models["ensemble"].batch == pytest.approx(12.4 / 5)
    alone = mean_times([TIMES, other(**changes, models={})])
    assert alone is not None
    assert alone.models["ensemble"].one == pytest.approx(4.5)


def test_a_model_that_was_not_timed_in_every_seed_has_no_mean():
    models = {"generalist": TIMES.models["generalist"]}
    mean = mean_times([TIMES, other(models=models, not_timed={"student": "it failed"})])
    assert mean is not None
    assert list(mean.models) == ["generalist"]
    assert set(mean.not_timed) == {"student", "ensemble_all"}


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0213, "0.021"), (0.3, "0.30"), (0.996, "1.0"), (4.94, "4.9"), (9.96, "10"), (12.4, "12")],
)
def test_a_time_has_two_digits(value, told):
    assert two_digits(value) == told
    assert two_digits(1234.5) == "1,234"
    assert two_digits(0.0) == "0"


def with_times(comparison: Comparison, times: InferenceTimes | None = TIMES) -> Comparison:
    return dataclasses.replace(comparison, times=times)


def test_the_verdict_tells_milliseconds_beside_the_generalist_s():
    told = text_of(with_times(made(LIKE_THE_ENSEMBLE, student=10)))
    assert (
        "for 1.00 times the inference FLOPs (1.2 ms instead of 5.0 for 1,000 rows) and 6 min"
        in told
    )
    assert (
        "for 2.50 times the inference FLOPs (12 ms instead of 5.0 for 1,000 rows) and 3 min" in told
    )


def test_the_verdict_tells_ratios_where_machines_differ():
    told = text_of(with_times(made({}), mean_times([TIMES, other("B")])))
    assert (
        "for 2.50 times the inference FLOPs (2.5 times the time for 1,000 rows) and 3 min" in told
    )


def test_a_table_over_seeds_has_times_beside_flops():
    text = comparison_markdown(with_times(compared()))
    header, line = (
        next(row for row in text.splitlines() if row.startswith(f"| {name} |"))
        for name in ("model", "`ensemble`")
    )
    assert "| inference | ms: 1 row / 1,000 rows | training FLOPs |" in header
    assert "| 2.00x | 0.90 / 12 |" in line
    assert "| 0.25x | \N{EN DASH} |" in text  # student_hard_labels
    assert "best of several rounds (A CPU, 2 cores; 2 threads)" in text
    assert "Not timed: ensemble_all (1,000 rows would take up to 40 s)." in text
    relative = comparison_markdown(with_times(compared(), mean_times([TIMES, other("B")])))
    assert "| 2.00x | 4.5x / 2.5x |" in relative
    assert "| time: 1 row / 1,000 rows |" in relative


def test_seeds_that_were_not_timed_show_no_times():
    comparison = compared(ensemble=0.6)
    assert comparison.times is None
    assert "times" not in comparison.to_dict()
    for text in (comparison_markdown(comparison), text_of(comparison)):
        assert "ms" not in text
        assert "Measured" not in text


def test_a_comparison_takes_the_times_of_its_seeds():
    skills = {"generalist": 0.5, "ensemble": 0.6}
    seeds = [dataclasses.replace(seed_scores(s, skills), times=TIMES) for s in (0, 1)]
    seeds.append(seed_scores(2, skills))
    comparison = compare_seeds(seeds, n_bootstrap=50)
    assert comparison.times == TIMES
    assert Comparison.from_dict(json.loads(json.dumps(comparison.to_dict()))) == comparison


def test_a_line_of_the_terminal_has_times_or_the_reason():
    assert times_in_words(TIMES, "ensemble") == "0.90 ms a row, 12 ms for 1,000"
    assert times_in_words(TIMES, "ensemble_all").startswith("not timed: 1,000 rows would")
    assert times_cell(TIMES, "ensemble_all") == "\N{EN DASH}"
    assert "1 thread)" in times_note(dataclasses.replace(TIMES, threads=1))
    both = dataclasses.replace(TIMES, not_timed={"student": "it failed", "ensemble": "it failed"})
    assert times_note(both).endswith(" Not timed: student and ensemble (it failed).")


def test_the_processor_has_a_name():
    name = processor_name(torch.device("cpu"))
    assert name.endswith(("core", "cores"))
    assert name == name.strip()
