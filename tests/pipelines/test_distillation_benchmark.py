"""Every method is compared, each training is kept, and the page says what its files say."""

import dataclasses
import json
import math
import re
import shutil

import numpy as np
import pytest

from pipelines.benchmarks import distillation_methods as known
from pipelines.benchmarks.distillation import distillation, forecast, main
from pipelines.benchmarks.distillation_costs import (
    FIRST_STEPS,
    JUDGED,
    TEACHER,
    planned_seconds,
    step_seconds,
)
from pipelines.benchmarks.distillation_methods import HARD, SMOOTHED
from pipelines.benchmarks.distillation_page import DistillationTable, gains_figure
from pipelines.benchmarks.distillation_plan import benches
from pipelines.benchmarks.distillation_students import Prepared, TaughtStudent, prepare
from pipelines.benchmarks.distillation_trials import TrialSettings, TriedStudent, trials_of
from pipelines.benchmarks.markdown_tables import heading
from pipelines.benchmarks.measured import Measured, SeedResults
from pipelines.reproduce.kept_training import KeptModel
from specialists.distillation import TERMS
from specialists.errors import DivergedError, InputError
from specialists.files import read_json, write_json
from specialists.networks import build, inference_flops
from specialists.training import FitResult, TrainingCost
from specialists.uncertainty import holm, seed_and_group_test

THREE = ("soft targets", "hint")
OF_IMAGES = ("three teachers, geometric", "hint", "attention", "distances", "exits")
OF_IMAGES += ("mutual", "4 views, cached", "online teacher")  # what looks at layers or at views
ALL = known.distillation_methods(known.layers_of_kind("images"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Eight classes of features, two rows of each input; five of pictures."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(8), 30))
    x = rng.normal(size=(8, 6))[y] + rng.normal(size=(len(y), 6))
    np.savez(folder / "blobs.npz", x=x.astype(np.float32), y=np.array([f"c{i}" for i in y]))
    y = rng.permutation(np.repeat(np.arange(5), 60))
    noisy = 200 * (rng.random((5, 16, 16)) < 0.3)[y] + 40 * rng.random((len(y), 16, 16))
    np.savez(folder / "dots.npz", x=noisy.astype(np.uint8), y=y)
    return [folder / "blobs.npz", folder / "dots.npz"]


@pytest.fixture(scope="module")
def done(files, tmp_path_factory):
    """The folder of a comparison of three methods with two seeds."""
    folder = tmp_path_factory.mktemp("distillation") / "all"
    arguments = ["--seeds", "2", "--jobs", "1", "--quick", "--methods", *THREE]
    main([str(folder), *map(str, files), *arguments])
    return folder


def again(done, files):
    return [bench.tuned() for bench in benches(done, files, [2], 1, THREE, quick=True)]


def test_every_term_scheme_store_and_way_to_ask_is_compared():
    terms = {table["kind"] for method in ALL.values() for table in method.terms}
    assert terms == set(TERMS)
    assert {m.scheme for m in ALL.values()} == {"offline", "mutual", "born_again", "exits"}
    ways = {"none", "network", "cached", "online", "views", "dense", "top", "sampled"}
    assert {m.teaching for m in ALL.values()} == ways
    assert {m.mean for m in ALL.values() if m.n_teachers > 1} == {"arithmetic", "geometric"}
    of_features = known.distillation_methods(known.layers_of_kind("features"))
    assert set(ALL) - set(of_features) == {"attention"}
    assert list(ALL)[:2] == [HARD, SMOOTHED]


def test_attention_weighs_as_much_whatever_the_size_of_the_maps():
    layers = known.layers_of_kind("images", 28)
    assert layers.maps == {"stage1": 196, "stage2": 49, "stage3": 16}
    weights = [t["weight"] for t in known.distillation_methods(layers)["attention"].terms[:3]]
    assert weights == pytest.approx([2000 / 196, 2000 / 49, 2000 / 16])


@pytest.mark.parametrize(("which", "names"), [(0, ()), (1, OF_IMAGES)])
def test_all_methods_train_on_both_kinds_of_input_and_a_dry_run_writes_nothing(
    files, tmp_path, monkeypatch, which, names
):
    monkeypatch.setattr("pipelines.benchmarks.distillation.TRIED_STEPS", 1)
    (bench,) = works = benches(tmp_path / "none", [files[which]], [3], 1, names, quick=True)
    told = forecast(works).splitlines()
    n_methods = 1 + len(names) if names else len(ALL) - 1
    n_trainings = 3 * (3 + n_methods) + 5 * n_methods
    assert told[0].startswith(f"{bench.work.data.dataset.name}: {n_trainings} trainings, ")
    assert told[1].startswith("together: ")
    assert not (tmp_path / "none").exists()


def test_the_page_says_what_the_files_say(done, files):
    text, record = (done / "distillation.md").read_text(), read_json(done / "distillation.json")
    assert text.startswith("# Distillation, 3 methods: blobs and dots, 2 seeds\n")
    for bench in again(done, files):
        name, students = bench.work.data.dataset.name, bench.students()
        rows = text.partition(f"### {name}\n")[2].partition("\n###")[0]
        units = bench.work.data.dataset.test.groups
        assert units is not None
        groups = [units.numpy()] * 2
        right = {m: [students[m, s].right().astype(float) for s in (0, 1)] for m in bench.methods}
        gaps = {m: [a - b for a, b in zip(right[m], right[HARD], strict=True)] for m in right}
        p = holm([seed_and_group_test(gaps[m], True, groups) for m in THREE])
        for method, expected in zip(THREE, p, strict=True):
            kept = record[name]["methods"][method]
            assert kept["p"] == pytest.approx(expected)
            assert kept["top1"] == [each.mean() for each in right[method]]
            assert all(0 < nll < 5 for nll in kept["nll"])
            assert kept["gains"]["right"]["value"] == pytest.approx(np.mean(gaps[method]))
        assert rows.count("\n| ") == 2 + 3
        n_rows = len(students[HARD, 0].training_rows())  # each of them is read twice an epoch
        assert f", 2 passes over 30% of the rows of each class ({n_rows:,} of " in rows
        assert "These do not beat hard labels: " in rows or "All beat them." in rows
    assert {"soft targets", "hint", "blobs", "dots"} <= set(
        re.findall(r">([^<>]+)</text>", (done / "distillation.svg").read_text())
    )
    assert "Contrastive" in text
    assert "Adversarial" in text


def test_what_stands_is_not_trained_again_and_the_page_is_the_same(done, files, monkeypatch):
    before = (done / "distillation.md").read_text()
    monkeypatch.setattr(KeptModel, "train", None)
    assert distillation(done, again(done, files)) == before
    assert forecast(again(done, files)).count(": 0 trainings, 0.0 CPU hours") == 2


def test_an_interruption_loses_one_training(done, files, tmp_path, monkeypatch):
    before = (done / "distillation.md").read_text()
    folder, trained = tmp_path / "copy", []
    shutil.copytree(done, folder)
    lost = [student for bench in again(folder, files) for student in bench.students().values()][:3]
    for student in lost:
        shutil.rmtree(student.folder)
    train = TaughtStudent.train

    def interrupted(self, place):
        trained.append(place)
        if len(trained) == 2:
            raise KeyboardInterrupt
        train(self, place)

    monkeypatch.setattr(TaughtStudent, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distillation(folder, again(folder, files))
    after = distillation(folder, again(folder, files))
    assert trained == [lost[i].folder for i in (0, 1, 1, 2)]
    assert [line for line in after.splitlines() if line.startswith("| ")] == [
        line for line in before.splitlines() if line.startswith("| ")
    ]


def test_another_teacher_or_weight_makes_a_student_stale(done, files, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    (bench, _) = again(folder, files)
    assert all(student.stands() for student in bench.students().values())
    shutil.rmtree(folder / "models" / "blobs" / "seed-0" / "teacher-0")
    stale = {key for key, student in bench.students().items() if not student.stands()}
    assert stale == {(name, 0) for name in THREE}
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.benchmarks.distillation_students.TOP", 9)
        assert not any(student.stands() for student in bench.students().values())
    assert len({bench.student(name, 1).seed for name in bench.methods}) == 1
    monkeypatch.setitem(bench.methods, HARD, ALL[SMOOTHED])
    assert not bench.student(HARD, 1).stands()


def test_the_answers_of_teachers_are_counted(files, tmp_path):
    (bench,) = benches(tmp_path, files[:1], [1], 1, quick=True)
    plan = dataclasses.replace(bench.plan, student_epochs=2)
    bench = dataclasses.replace(bench, plan=plan)
    student = bench.student("online teacher", 0)
    network = build(student.lesson.teachers[0].spec).eval()
    data = student.scheme_data(student.training_rows())
    names, flops = bench.work.data.dataset.class_names, inference_flops(network, data.train.inputs)

    def cost(name):
        taught = prepare(bench.methods[name], [network], data, names, tmp_path / "store")
        return taught.train(student.building(build(student.lesson.spec)))[1]

    alone, n_rows = cost(HARD), len(data.train)
    assert cost("online teacher").flops == pytest.approx(alone.flops + flops * alone.examples)
    assert cost("4 views, cached").flops == pytest.approx(alone.flops + 4 * flops * n_rows)
    assert cost("hint").flops > alone.flops + flops * alone.examples
    answers = inference_flops(build(student.lesson.spec).eval(), data.train.inputs)
    born_again = 2 * alone.flops + answers * alone.examples
    assert cost("born again").flops == pytest.approx(born_again)
    assert cost("mutual").flops == pytest.approx(2 * alone.flops)


LEVELS = {HARD: 0.5, "good": 0.8, "also good": 0.8, "bad": 0.2, "the same": 0.5, "fair": 0.65}


def test_what_a_store_keeps_of_a_row_is_counted_in_bytes(files, tmp_path):
    (bench,) = benches(tmp_path, files[:1], [1], 1, quick=True)
    student = bench.student("dense store", 0)
    network = build(student.lesson.teachers[0].spec).eval()
    data = student.scheme_data(student.training_rows())
    names = bench.work.data.dataset.class_names  # eight
    for i, (name, n_bytes) in enumerate(
        {
            "dense store": 8 * 2,
            "top-8 store": 8 * 2 + 9 * 2,
            "store of 20 draws": 8 * 3,
            "4 views, cached": 4 * 8 * 2,
            "soft targets": 0,
            "online teacher": 0,
        }.items()
    ):
        method = bench.methods[name]
        found = prepare(method, [network], data, names, tmp_path / str(i))
        assert (name, found.n_bytes) == (name, n_bytes)


def planted(seconds, level=LEVELS):
    """Hard labels, and others that are clearly better, clearly worse, or the same."""
    rng = np.random.default_rng(0)
    draws = [rng.random(400) for _ in range(3)]

    def measured(draw, name):
        right = (draw + 0.02 * rng.normal(size=400) < level[name]).astype(float)
        cost = TrainingCost(10, 1e6 if name == HARD else 3e6)
        return Measured(right, 1 - right, "rows", cost, 1e3)

    models = [{name: measured(draw, name) for name in level} for draw in draws]
    families = dict.fromkeys(level, "")
    return DistillationTable("planted", "", families, SeedResults(models), seconds, 0)


def test_the_pick_is_the_cheapest_that_may_be_the_best():
    seconds = {HARD: 1.0, "good": 2.0, "also good": 1.5, "bad": 0.5, "the same": 0.5, "fair": 0.9}
    table = planted(seconds)
    verdicts = {name: table.verdict(name) for name in table.order if name != HARD}
    expected = {"good": "better", "also good": "better", "fair": "better"}
    assert verdicts == {**expected, "bad": "worse", "the same": "no better"}
    assert set(table.order[:2]) == {"good", "also good"}
    assert (table.order[2], table.order[-1]) == ("fair", "bad")
    assert table.pick == "also good"
    assert {table.ranks["good"], table.ranks["also good"]} == {(1, 2)}
    assert (table.ranks["fair"], table.ranks["bad"]) == ((3, 3), (6, 6))
    assert table.ranks[HARD] == table.ranks["the same"] == (4, 5)
    assert set(table.no_better) == {"bad", "the same"}
    assert "at 1.50x a step" in table.short_line()["pick"]
    line = table.line("good")
    assert (line["a step, x"], line["training FLOPs, x"]) == ("2.00", "3.00")


def test_the_figure_has_the_colours_of_the_verdicts_and_no_point_of_what_is_not_compared():
    table = planted(dict.fromkeys(LEVELS, 1.0))
    fewer = planted(dict.fromkeys(LEVELS, 1.0), {n: LEVELS[n] for n in (HARD, "good", "bad")})
    whole, part = gains_figure([table, dataclasses.replace(fewer, name="fewer")]).axes
    methods = [label.get_text() for label in whole.get_yticklabels()]
    assert set(methods) == set(LEVELS) - {HARD}
    assert (methods.index("fair"), methods.index("bad")) == (2, 4)
    assert (whole.get_title(), part.get_title()) == ("planted", "fewer")
    colours = {"better": "#0072B2", "worse": "#D55E00", "no better": "#767676"}
    for axes, each in ((whole, table), (part, fewer)):
        points = [line for line in axes.lines if line.get_marker() == "o"]
        drawn = {methods[int(np.asarray(point.get_ydata())[0])]: point for point in points}
        assert set(drawn) == set(each.corrected)
        for name, point in drawn.items():
            assert np.asarray(point.get_xdata())[0] == pytest.approx(100 * each.gain(name))
            assert point.get_color() == colours[each.verdict(name)]


def test_where_no_method_beats_hard_labels_they_are_the_pick(monkeypatch):
    level = {HARD: 0.5, "the same": 0.5, "bad": 0.2}
    table = planted({HARD: 1.0, "the same": 0.5, "bad": 0.1}, level)
    assert table.ranks["the same"][0] == 1
    assert table.pick == HARD
    assert table.short_line()["pick"] == "hard labels"
    widths = [
        np.diff(table.results.estimate("right", n, HARD).interval) for n in level if n != HARD
    ]
    assert table.half_width == pytest.approx(50 * np.mean(widths))
    for wanted, told in (
        (table.half_width + 1, ": narrow"),
        (table.half_width - 1, ": not narrow"),
    ):
        monkeypatch.setattr("pipelines.benchmarks.distillation_page.WANTED", wanted)
        assert told in table.section()


def test_a_step_is_timed_without_what_comes_before_it(files, tmp_path, monkeypatch):
    (bench,) = benches(tmp_path, files[:1], [1], 1, THREE, quick=True)
    clock = {"shorter": 3.0, "longer": 7.0}
    monkeypatch.setattr(
        "pipelines.benchmarks.distillation_costs.best_of",
        lambda jobs, n: {name: clock.get(name.rpartition(", ")[2], 0.5) for name in jobs},
    )
    bench = dataclasses.replace(bench, plan=dataclasses.replace(bench.plan, batch_size=4))
    an_epoch = round(2 * 0.3 * len(bench.work.data.dataset.train)) // 4  # reads each row twice
    assert an_epoch * 4 > 1.5 * len(bench.student(HARD, 0).training_rows())
    for wanted, n_steps in ((2, 2), (1000, an_epoch - FIRST_STEPS)):
        times = step_seconds(bench, wanted, 1)
        assert {times[name] for name in bench.methods} == {4.0 / n_steps}


def test_the_longer_training_has_the_steps_more_that_are_timed(files, tmp_path, monkeypatch):
    (bench,) = benches(tmp_path, files[:1], [1], 1, (SMOOTHED,), quick=True)
    bench = dataclasses.replace(bench, plan=dataclasses.replace(bench.plan, batch_size=4))
    seen = []
    monkeypatch.setattr(Prepared, "train", lambda _, network, data: seen.append(data.n_examples))
    monkeypatch.setattr(
        "pipelines.benchmarks.distillation_costs.best_of",
        lambda jobs, n: {name: (job(), 1.0)[1] for name, job in jobs.items()},
    )
    step_seconds(bench, 5, 1)
    lengths = [FIRST_STEPS, FIRST_STEPS + 5]
    first = [4 * FIRST_STEPS]  # which is not timed
    assert seen == first + [4 * n for n in lengths] * 2 + [64 * n for n in lengths]  # the teacher's


def test_what_does_not_stand_is_counted_by_its_steps_and_looks_at_validation(files, tmp_path):
    (bench,) = benches(tmp_path, files[:1], [2], 1, ("soft targets",), quick=True)
    longer = {"student_epochs": 3, "teacher_epochs": 2, "batch_size": 10, "teacher_batch": 100}
    bench = dataclasses.replace(bench, plan=dataclasses.replace(bench.plan, **longer))
    times = {HARD: 0.5, "soft targets": 0.75, TEACHER: 2.0, JUDGED: 10.0}
    n_rows = len(bench.work.data.dataset.train)
    n_steps, n_taught = -(-n_rows // 100), math.ceil(round(2 * 0.3 * n_rows) / 10)
    assert bench.student(HARD, 0).lesson.passes == 2
    teacher = 2 * (2.0 * n_steps + 4 * 10.0)  # its network is four times as large
    students = [3 * (step * n_taught + 10.0) for step in (0.5, 0.75)]
    trials = [step * n_taught + 10.0 for step in (0.5, 0.75) for _ in range(5)]  # of an epoch
    found = list(planned_seconds(bench, times))
    assert found == pytest.approx([teacher] * 2 + trials + students * 2)


def test_an_unknown_method_is_named(files, tmp_path):
    with pytest.raises(InputError, match="no such method"):
        benches(tmp_path, files, [1], 1, ["contrastive"])


def test_each_file_has_its_own_number_of_seeds_or_all_have_one(files, tmp_path):
    assert len(files) == 2
    works = benches(tmp_path, files, [3, 1], 1, (SMOOTHED,), quick=True)
    assert [bench.work.seeds for bench in works] == [(0, 1, 2), (0,)]
    with pytest.raises(InputError, match="3 numbers of seeds, 2 files"):
        benches(tmp_path, files, [1, 2, 3], 1)
    assert heading("A", [6, 3, 3], "").startswith("# A, 6 and 3 seeds\n")


@pytest.mark.parametrize("name", ALL)
def test_every_method_has_five_trials_and_the_first_is_the_usual_one(name):
    method = ALL[name]
    tried = [(each.rate, each.of(method)) for each in trials_of(method)]
    assert len(tried) == 5
    assert tried[0] == (1.0, method)
    told = [json.dumps([rate, changed.to_dict()]) for rate, changed in tried]
    assert len(set(told)) == 5
    assert [changed.setting for _, changed in tried[1:3]] == [
        f"{method.setting}; rate x {rate}".removeprefix("; ") for rate in ("0.5", "2")
    ]


def test_a_trial_multiplies_what_teaches_and_leaves_labels():
    soft = ALL["soft targets"].scaled(3.0, 0.5)
    assert [t["weight"] for t in soft.terms] == [pytest.approx(2.7), pytest.approx(0.1)]
    assert soft.terms[0]["temperature"] == 2.0
    assert ALL[SMOOTHED].scaled(3.0, 1.0).terms[0]["smoothing"] == pytest.approx(0.3)
    stored = ALL["dense store"].scaled(1 / 3, 1.0)
    assert stored.alpha == pytest.approx(0.75)  # 9 : 1 becomes 3 : 1
    hot = {name for name, method in ALL.items() if method.is_hot}
    assert {"soft targets", "decoupled", "standardised", "exits", "online teacher"} <= hot
    assert not hot & {HARD, SMOOTHED, "mutual", "hint", "dense store", "logit matching"}


def test_validation_rows_choose_among_trials_and_what_diverged_has_lost(files, tmp_path):
    (bench,) = benches(tmp_path, files[:1], [2], 1, ("soft targets",), quick=True)
    scores = {HARD: [None, 0.4, 0.6, 0.5, 0.6], "soft targets": [None] * 5}
    for name, values in scores.items():
        for each, top1 in zip(bench.tried(name), values, strict=True):
            cost = TrainingCost(1, 1.0)
            found = {"diverged": "so"} if top1 is None else FitResult(1, 1.0, top1, cost).to_dict()
            write_json(each.folder / "result.json", found)
    tuned = bench.tuned()
    assert tuned.settings == {HARD: TrialSettings(rate=2.0), "soft targets": TrialSettings()}
    assert tuned.student(HARD, 1).lesson.recipe.learning_rate == 2 * bench.plan.rate
    assert tuned.student(HARD, 1).method.setting == "rate x 2"
    assert tuned.student("soft targets", 1).method == bench.methods["soft targets"]


def test_trials_look_at_validation_rows_alone_and_are_shorter(done, files):
    (bench, _) = again(done, files)
    plan = dataclasses.replace(bench.plan, student_epochs=30)
    longer = dataclasses.replace(bench, plan=plan)
    assert {each.lesson.recipe.epochs for each in longer.trials()} == {8}
    assert len(bench.trials()) == 3 * 5
    for each in bench.trials():
        assert not list(each.folder.glob("*test*"))
        assert not list(each.folder.glob("*.npy"))


def test_a_trial_that_diverges_is_kept_as_one_that_lost(files, tmp_path, monkeypatch):
    (bench,) = benches(tmp_path, files[:1], [1], 1, (SMOOTHED,), quick=True)

    def diverges(*_):
        raise DivergedError("not finite", 1, 1.0)

    first = bench.tried(HARD)[0]
    with monkeypatch.context() as patch:
        patch.setattr(TriedStudent, "distilled", diverges)
        first.ensure()
    assert first.stands()
    assert first.result() is None
