"""The paper's experiments on little data: tables, files, resuming, messages."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.reproduce import kept_training, logit_limit
from pipelines.reproduce.logit_matching import gradient_2
from pipelines.reproduce.overlapping_subsets import SpecialistGroup
from pipelines.reproduce.own_networks import own_lesson, resolved
from pipelines.reproduce.paper_page import write_page
from pipelines.reproduce.paper_tables import PaperLine, PaperTable, kept_table, share_line
from pipelines.reproduce.reproduce_command import begin, experiment_of, reproduction_settings
from pipelines.reproduce.reproduction import Reproduction
from pipelines.reproduce.ten_models import (
    SHARE,
    _alone,
    _left_open,
    _members,
    _of_length,
    _student,
)
from pipelines.runs import QUICK_REPRODUCTION, REPRODUCTION, locked
from specialists.distillation import fit_missing_bias
from specialists.files import write_json
from specialists.files.manifests import CODE_VERSION
from specialists.losses import DistillationLoss
from specialists.networks import build
from specialists.predictions import predict_outputs

DIGITS = ("mnist", "temperatures", "transfer", "logits", "regulariser", "ensemble")
SMALL = ["--quick", "--seeds", "2", "--jobs", "1"]
FEW = ["--set", "generalist.epochs=3", "--set", "generalist.width=16"]


def reproduce(*arguments):
    result = CliRunner().invoke(app, ["reproduce", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def table_of(folder, name):
    table = kept_table(folder, name)
    assert table is not None
    return table


def blobs_settings(data):
    return reproduction_settings(None, [f"data.arrays={data / 'blobs.npz'}", *FEW[1::2]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """digits.npz: scikit-learn's digits at twice their size; blobs.npz: 15 classes of features."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("data")
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8) * 15.9).astype(np.uint8).repeat(2, 1).repeat(2, 2)
    train, test = slice(None, 1200), slice(1200, None)
    parts = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    np.savez(folder / "digits.npz", **parts)
    np.savez(folder / "no3.npz", x=x[y != 3], y=y[y != 3])
    (folder / "a.txt").write_text("mine")
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(15), 40))
    centres = rng.normal(size=(5, 1, 10)) * 3 + rng.normal(size=(5, 3, 10))
    blobs = centres.reshape(15, 10)[y] + rng.normal(size=(len(y), 10))
    np.savez(folder / "blobs.npz", x=blobs.astype(np.float32), y=np.array([f"c{i}" for i in y]))
    y = rng.permutation(np.repeat(np.arange(24), 30))
    pictures = rng.random((24, 16, 16)) < 0.3
    noisy = 255 * pictures[y] + 40 * rng.normal(size=(len(y), 16, 16))
    np.savez(folder / "glyphs.npz", x=noisy.clip(0, 255).astype(np.uint8), y=y)
    words = [f"{word} {i}\t{word}" for word in ("red", "blue") for i in range(60)]
    (folder / "words.tsv").write_text("\n".join(["text\tlabel", *words]))
    return folder


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """The folder of all experiments."""
    folder = tmp_path_factory.mktemp("reproduce") / "all"
    digits = ["--set", f"data.arrays={data / 'digits.npz'}"]
    for name in DIGITS:
        made = reproduce(name, *digits, *SMALL, "--out", folder)
        assert made.exit_code == 0, made.output
    for name, file in (("regulariser", "blobs"), ("specialists", "blobs"), ("ensemble", "glyphs")):
        settings = [*FEW, "--set", f"data.arrays={data / file}.npz"]
        made = reproduce(name, *settings, *SMALL, "--out", folder)
        assert made.exit_code == 0, made.output
    return folder


@pytest.fixture
def work(data, done):
    settings = reproduction_settings(None, [f"data.arrays={data / 'digits.npz'}"])
    return begin(done, settings, 2, 1, quick=True)


@pytest.mark.parametrize(
    ("name", "papers"),
    [
        ("mnist", ("67", "146", "74")),
        ("temperatures", ("2.5 to 4", "significantly better")),
        ("transfer", ("206", "133", "3.5", "109", "14", "47.3%", "-7.6", "13.2%")),
        ("regulariser-digits", ("58.9%", "44.5%", "57.0%")),
        ("regulariser-blobs", ("58.9%", "44.5%", "57.0%")),
        ("ensemble-digits", ("58.9%", "61.1%", "60.8%", "86%")),
        ("ensemble-glyphs", ("58.9%", "61.1%", "60.8%", "86%")),
        ("specialists-blobs", ("43.1%", "45.9%", "25.0%", "26.1%", "4.4%")),
    ],
)
def test_the_papers_figures_stand_beside_ours(done, name, papers):
    text = (done / f"{name}.md").read_text()
    table = table_of(done, name)
    assert set(papers) <= {line.paper for line in table.lines}
    for line in table.lines:
        assert f"| {' | '.join(line.cells())} |" in text
        n_seeds = 1 if name == "temperatures" else 2
        assert len(line.values) == n_seeds * (not line.goal.startswith("null"))
        assert line.how
        assert line.how in text


def test_the_page_has_every_section_in_the_papers_order(done):
    page = (done / "paper.md").read_text()
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    sections = [table_of(done, file.stem).title for file in done.glob("[a-z]*.json")]
    assert sorted(titles) == sorted(f"## {title}" for title in sections)
    assert titles[0] == "## MNIST: test errors"
    assert titles[-1].startswith("## Logit matching")


def test_every_section_begins_with_its_question_and_says_once_how_figures_were_made(done):
    page = (done / "paper.md").read_text()
    for section in page.split("\n## ")[1:]:
        assert section.split("\n\n")[1].startswith("Section ")
        made = [line for line in section.splitlines() if line.startswith("- ") and ": " in line]
        hows = [line.rpartition(": ")[2] for line in made]
        assert len(hows) == len(set(hows))


def test_a_table_of_before_there_were_questions_is_read(done, tmp_path):
    values = json.loads((done / "mnist.json").read_text())
    del values["question"]
    (tmp_path / "mnist.json").write_text(json.dumps(values))
    assert table_of(tmp_path, "mnist").markdown().startswith("## MNIST: test errors\n\n| figure")


def test_equation_4_needs_centred_logits(done):
    (table,) = (part for part in table_of(done, "logits").text if part.startswith("| T"))
    last = [float(cell.strip(" %")) for cell in table.splitlines()[-1].split("|")[2:5]]
    assert last[0] < 0.1
    assert last[1] < 0.1
    assert last[2] > 1


def test_the_worst_temperature_and_the_loss_are_what_equations_are_held_to(work, monkeypatch):
    lines = logit_limit.reproduce_logits(work).lines
    assert lines[0].reached
    assert lines[-1].reached
    assert {line.paper for line in lines} == {""}  # it prints none of them
    assert lines[-1].values != [1.0]

    def wrong_once(z, v, t):
        return gradient_2(z, v, t) * (1.01 if t == 1 else 1)

    monkeypatch.setattr(logit_limit, "gradient_2", wrong_once)
    monkeypatch.setattr(logit_limit, "MatchedLogits", lambda: DistillationLoss(1.0, 1.0))
    lines = logit_limit.reproduce_logits(work).lines
    assert lines[0].measured[0] == pytest.approx(0.01e12, rel=1e-3)
    assert [lines[0].reached, lines[-1].reached] == [False, False]


def test_its_figures_lie_where_the_page_says(done, tmp_path):
    made = reproduce("page", "--out", done, "--page", tmp_path / "page.md")
    assert made.exit_code == 0, made.output
    page = (tmp_path / "page.md").read_text()
    linked = {part.partition(")")[0] for part in page.split("](")[1:] if part.startswith("figures")}
    assert len(linked) == 4
    for file in linked:
        assert (tmp_path / file).read_text().startswith("<svg")


def test_what_stands_is_not_trained_again(data, done, monkeypatch, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    before = (folder / "mnist.json").read_text()
    monkeypatch.setattr(kept_training.KeptModel, "train", None)
    settings = ["--set", f"data.arrays={data / 'digits.npz'}", *SMALL, "--out", folder]
    assert reproduce("mnist", *settings).exit_code == 0
    assert (folder / "mnist.json").read_text() == before
    shutil.rmtree(folder / "models/digits/small-seed-1")
    with pytest.raises(TypeError):
        reproduce("mnist", *settings)


def test_an_interrupted_experiment_goes_on_with_what_is_missing(data, done, monkeypatch, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    shutil.rmtree(folder / "models/digits/taught-seed-1")
    trained = []
    train = kept_training.KeptModel.train

    def counted(self, where):
        trained.append(self.lesson.name)
        train(self, where)

    monkeypatch.setattr(kept_training.KeptModel, "train", counted)
    settings = ["--set", f"data.arrays={data / 'digits.npz'}", *SMALL, "--out", folder]
    assert reproduce("mnist", *settings).exit_code == 0
    assert trained == ["taught-seed-1"]
    tables = [json.loads((place / "mnist.json").read_text()) for place in (done, folder)]
    assert tables[0]["lines"] == tables[1]["lines"]


def test_a_teacher_that_changed_teaches_its_students_again(work, tmp_path, monkeypatch):
    from pipelines.reproduce.paper_mnist import taught_lesson

    models = tmp_path / "models"
    shutil.copytree(work.models, models)
    student = kept_training.KeptModel(models, work.data, taught_lesson(work, 0))
    before = student.key()
    other = models / "large-seed-1" / kept_training.KEPT_WEIGHTS
    shutil.copy(other, models / "large-seed-0" / kept_training.KEPT_WEIGHTS)
    assert student.key() != before


def test_errors_are_those_of_the_kept_classes(done, work):
    table = table_of(done, "mnist")
    labels = work.test_labels
    for line, name in zip(table.lines, ("large", "small", "taught"), strict=False):
        kept = [
            np.load(work.models / f"{name}-seed-{seed}" / "test.classes.npy") for seed in (0, 1)
        ]
        assert list(line.values) == [(classes != labels).sum() for classes in kept]


def test_a_student_is_shown_no_missing_class(work):
    from pipelines.reproduce.unseen_classes import _lesson

    lesson = _lesson(work, 0, "without-3", (3,))
    rows = kept_training.KeptModel(work.models, work.data, lesson).training_rows()
    train = work.data.dataset.train
    assert 3 not in rows.labels
    assert len(rows) == int((train.labels != 3).sum())


def test_a_student_without_threes_is_judged_by_its_teacher_on_the_other_classes(work):
    from pipelines.reproduce.unseen_classes import _lesson

    lesson, validation = _lesson(work, 0, "without-3", (3,)), work.data.dataset.validation
    student = kept_training.KeptModel(work.models, work.data, lesson)
    teacher = kept_training.KeptModel(work.models, work.data, lesson.teachers[0]).network()
    network, seen = build(lesson.spec), validation.inputs[validation.labels != 3]
    outputs = predict_outputs(network, seen), predict_outputs(teacher, seen)
    expected = float(DistillationLoss(20.0, 1.0)(*outputs))
    assert student._judge(validation)(network)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("precision", "bits"), [("bfloat16", 16), ("float32", 32)])
def test_a_teacher_that_is_asked_about_every_batch_has_its_students_precision(
    work, monkeypatch, precision, bits
):
    settings = work.data.config.model_copy(update={"precision": precision})
    data = replace(work.data, settings=settings.to_toml())
    student = kept_training.KeptModel(work.models, data, _student(work, 0, 2.0))
    asked = []

    def outputs(network, inputs):
        asked.append(network(inputs))
        return asked[-1]

    monkeypatch.setattr(kept_training, "predict_outputs", outputs)
    ask = student._teacher(data.dataset.train)
    assert callable(ask)
    ask(data.dataset.train.inputs[:4])
    assert {torch.finfo(logits.dtype).bits for logits in asked} == {bits}


def test_data_may_lie_elsewhere(data, work, tmp_path):
    from pipelines.reproduce.paper_mnist import taught_lesson

    shutil.copy(data / "digits.npz", tmp_path / "digits.npz")
    settings = reproduction_settings(None, [f"data.arrays={tmp_path / 'digits.npz'}"])
    moved = begin(work.folder, settings, 2, 1, quick=True)
    keys = [
        kept_training.KeptModel(each.models, each.data, taught_lesson(each, 0)).key()
        for each in (work, moved)
    ]
    assert keys[0] == keys[1]


def test_errors_with_the_bias_are_those_of_a_fit_to_validation_rows(done, work):
    lines = table_of(done, "transfer").lines
    dataset = work.data.dataset
    for seed in (0, 1):
        folder = work.models / f"without-3-seed-{seed}"
        validation, test = (
            torch.from_numpy(np.load(folder / f"{part}.outputs.npy"))
            for part in ("validation", "test")
        )
        fitted = fit_missing_bias(validation, dataset.validation.labels, [3])
        wrong = (fitted.log_probs(test).argmax(1) != dataset.test.labels).numpy()
        found = [line.values[seed] for line in (*lines[2:4], lines[4])]
        threes = wrong & (work.test_labels == 3)
        assert found == [pytest.approx(fitted.bias), wrong.sum(), threes.sum()]


def test_students_that_stop_earlier_stand_beside_the_whole_training(done, work):
    table = table_of(done, "transfer")
    rows = [line.strip("| ").split(" | ") for line in table.text[-1].splitlines() if "|" in line]
    lengths = [*work.plan.transfer_lengths, work.plan.transfer_epochs]
    assert [row[0] for row in rows[2:]] == [str(n) for n in lengths]
    of_seed_0 = [line.measured[0] for line in table.lines]
    n_test = len(work.test_labels)
    pair = [round(of_seed_0[i] * n_test / 100) for i in (5, 7)]
    assert rows[-1][1:] == [
        *(f"{of_seed_0[i]:.0f}" for i in (0, 3)),
        f"{of_seed_0[2]:.1f}",
        *map(str, pair),
        f"{-of_seed_0[6]:.1f}",
    ]
    folder = work.models / f"only-7-8-{lengths[0]}-epochs-seed-0"
    outputs = torch.from_numpy(np.load(folder / "test.outputs.npy"))
    wrong = int((outputs.argmax(1) != work.data.dataset.test.labels).sum())
    assert rows[2][4] == str(wrong)


@pytest.mark.parametrize("name", ["mnist", "temperatures", "ensemble-digits", "specialists-blobs"])
def test_intervals_lie_about_the_figure_and_decide_what_is_clear(done, name):
    lines = [line for line in table_of(done, name).lines if line.interval]
    assert lines
    for line in lines:
        assert line.interval is not None
        low, high = line.interval
        assert low < (line.mean if line.overall is None else line.overall) < high
        if line.goal.startswith("clear"):
            assert line.reached is (low > 0)


@pytest.mark.parametrize(
    ("name", "wrong", "whole"), [("mnist", "small", None), ("regulariser", "share", 100)]
)
def test_a_student_that_is_right_where_labels_alone_are_wrong_has_all_of_the_gain(
    work, monkeypatch, name, wrong, whole
):
    def right(self, split="test"):
        lesson, labels = self.lesson, self.data.dataset.splits[split].labels
        return np.full(len(labels), bool(lesson.teachers) or wrong not in lesson.name)

    monkeypatch.setattr(kept_training.KeptModel, "right", right)
    line = experiment_of(name)(work).lines[-1]
    gain = len(work.test_labels) if whole is None else whole
    assert line.values == [gain, gain]
    assert line.interval == pytest.approx((gain, gain))
    assert line.reached is True


def test_specialists_that_are_right_where_the_generalist_is_wrong_gain_all(done, data, monkeypatch):
    work = begin(done, blobs_settings(data), 2, 1, quick=True)
    labels, n = work.data.dataset.test.labels, work.data.dataset.n_classes
    wrong, right = (torch.eye(n)[(labels + i) % n] for i in (1, 0))
    monkeypatch.setattr(SpecialistGroup, "log_probs", lambda *_: (wrong, right))
    gain = experiment_of("specialists")(work).lines[2]
    assert gain.values == [100, 100]
    assert gain.interval == pytest.approx((100, 100))
    assert gain.reached is True


def test_averages_are_of_the_members_kept_outputs(done, work):
    lines = table_of(done, "ensemble-digits").lines
    for seed in work.seeds:
        outputs = torch.stack(
            [
                torch.from_numpy(np.load(work.models / f"member-{i}-seed-{seed}/test.outputs.npy"))
                for i in range(work.plan.n_members)
            ]
        )
        labels = work.data.dataset.test.labels
        single = (outputs.argmax(2) == labels).double().mean()
        arithmetic = (outputs.softmax(2).mean(0).argmax(1) == labels).double().mean()
        geometric = (outputs.log_softmax(2).mean(0).argmax(1) == labels).double().mean()
        expected = [100 * float(accuracy) for accuracy in (single, arithmetic, geometric)]
        assert [line.values[seed] for line in lines[:3]] == pytest.approx(expected)


@pytest.mark.parametrize(("name", "lowest"), [("regulariser", 2), ("ensemble", 1)])
def test_temperatures_are_chosen_on_validation_rows(work, monkeypatch, name, lowest):
    asked = []

    def errors(self, split="test"):
        asked.append(split)
        return self.lesson.temperature

    monkeypatch.setattr(kept_training.KeptModel, "errors", errors)
    assert experiment_of(name)(work).text[0].startswith(f"T = {lowest}")
    assert set(asked) == {"validation"}


def test_an_ensembles_page_says_what_longer_training_gains_without_a_teacher(work, monkeypatch):
    rights = {"alone": 0.75, "member": 0.5}

    def right(self, split="test"):
        share = rights.get(self.lesson.name.partition("-")[0], 0.0)
        return np.arange(100) < 100 * share

    monkeypatch.setattr(kept_training.KeptModel, "right", right)
    members, alone = _members(work, 0), [_alone(work, 0)]
    models = [[kept_training.KeptModel(work.models, work.data, each)] for each in members]
    longer = [kept_training.KeptModel(work.models, work.data, each) for each in alone]
    assert "longer training gains 25.00 points" in _of_length(models, longer)
    rights["alone"] = 0.25
    assert "longer training gains nothing (-25.00 points" in _of_length(models, longer)


@pytest.mark.parametrize(("high", "said"), [(118.0, True), (85.0, False)])
def test_an_ensembles_page_says_what_few_test_rows_leave_open(high, said):
    reached = share_line("", ("", ""), [9.0], [10.0], 0.86, (0.5, 1.1))
    short = share_line("", ("", ""), [6.0], [10.0], 0.86, (0.5, high / 100))
    assert _left_open([replace(reached, figure=SHARE)], 600) == ""
    assert ("600 test rows are too few" in _left_open([replace(short, figure=SHARE)], 600)) == said


def test_hard_labels_have_half_the_weight_of_soft_targets_in_an_ensembles_student(work):
    lesson = _student(work, 0, 2.0)
    assert lesson.alpha / (1 - lesson.alpha) == pytest.approx(2)
    assert (len(lesson.teachers), lesson.online) == (work.plan.n_members, True)


def test_specialists_are_asked_where_the_generalists_class_is_theirs(done, data):
    work = begin(done, blobs_settings(data), 2, 1, quick=True)
    lesson = replace(own_lesson(work, "generalist-seed-0", 0), keep_outputs=True, keep_weights=True)
    generalist = kept_training.KeptModel(work.models, work.data, lesson)
    group = SpecialistGroup(generalist, 3, 4, resolved(work).specialists)
    specialists = group.specialists()
    alone, joined = group.log_probs(specialists)
    theirs = torch.isin(alone.argmax(1), torch.cat([each.subset for each in specialists]))
    changed = ~torch.isclose(alone, joined.to(alone.dtype), atol=1e-5).all(1)
    assert 0 < int(theirs.sum()) < len(theirs)
    assert not changed[~theirs].any()
    assert changed[theirs].float().mean() > 0.9


def test_rows_of_one_observation_are_drawn_together():
    groups = torch.arange(40) // 20
    data = SimpleNamespace(dataset=SimpleNamespace(test=SimpleNamespace(groups=groups)))
    right = np.arange(40) % 4 == 0
    (drawn,) = Reproduction.drawn_means(cast(Reproduction, SimpleNamespace(data=data)), [right])
    assert set(drawn.tolist()) == {0.25}


def test_few_rows_are_the_same_for_whoever_learns_from_them(work):
    from pipelines.reproduce.little_data import _student

    share = work.plan.few
    rows = []
    for seed, t in ((0, None), (0, 2.0), (1, None)):
        student = _student(work, seed, share, t)
        learnt = kept_training.KeptModel(work.models, work.data, student).training_rows().rows
        assert learnt is not None
        rows.append(learnt.tolist())
    assert rows[0] == rows[1] != rows[2]
    assert len(rows[0]) == pytest.approx(share * len(work.data.dataset.train), rel=0.05)


def test_labels_and_soft_targets_alike_are_tried_without_dropout_and_longer(done, data):
    from pipelines.reproduce.little_data import _student

    work = begin(done, blobs_settings(data), 2, 1, quick=True)
    for t in (None, *work.plan.few_temperatures):
        plain, longer = (_student(work, 0, work.plan.few, t, each) for each in (False, True))
        assert plain.spec.dropout > longer.spec.dropout == 0
        assert longer.recipe.epochs == 3 * (plain.recipe.epochs or 0)
        assert all((work.models / each.name / "result.json").is_file() for each in (plain, longer))


@pytest.mark.parametrize("t", [None, 5.0])
def test_students_of_hard_labels_and_of_soft_targets_see_moving_digits(work, t):
    from pipelines.reproduce.little_data import _student

    student = _student(work, 0, work.plan.few, t)
    assert student.augment == "shifts"
    assert student.online is (t is not None)


def test_an_epoch_on_few_rows_reads_them_several_times(work, done):
    from pipelines.reproduce.little_data import _student

    lesson = _student(work, 0, work.plan.few)
    result = json.loads((work.models / lesson.name / "result.json").read_text())
    metrics = (work.models / lesson.name / "metrics.jsonl").read_text().splitlines()
    assert lesson.passes == 2
    assert json.loads(metrics[0])["examples"] == 2 * result["rows"]


def test_intervals_are_paired_over_seeds_and_test_rows(work):
    n = len(work.test_labels)
    first = [np.zeros(n), np.zeros(n)]
    second = [np.ones(n), np.ones(n)]
    less, more = work.drawn_means(first, second)
    assert set((more - less).tolist()) == {1.0}


def test_a_line_says_mean_spread_interval_and_whether_the_goal_is_reached():
    line = PaperLine("errors", "67", [70, 80], "so", 1, "%", "at most 85", True, (60.0, 90.0))
    ours = "75.0% ± 7.1 [60.0, 90.0]"
    assert line.cells() == ("errors", "67", ours, "70.0%, 80.0%", "at most 85: reached")
    counts = PaperLine("errors", "74", [91, 101, 109], "so", 0)  # 100.3 is more than 100
    assert counts.cells()[2:4] == ("100.3 ± 9.0", "91, 101, 109")


def test_the_page_in_the_repository_is_made_of_the_results_beside_it(tmp_path):
    data = Path(__file__).parents[2] / "data"
    (tmp_path / "figures").mkdir()
    for file in (*data.glob("results/paper/*.json"), *data.glob("figures/paper-*.svg")):
        shutil.copy(file, tmp_path / "figures" if file.suffix == ".svg" else tmp_path)
    assert {"mnist", "transfer", "logits"} < {file.stem for file in tmp_path.glob("*.json")}
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert page == (data / "PAPER.md").read_text(encoding="utf-8")


NO_DATA = "no data are named, and nothing is downloaded"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mnist"], NO_DATA),
        (["mnist", "--set", "seed=1"], NO_DATA),
        (["mnist", "--set", "data.arrays=gone.npz"], "gone.npz"),
        (["mnist", "--set", "data.arrays=DATA/blobs.npz"], "pictures of the ten digits"),
        (["transfer", "--set", "data.arrays=DATA/no3.npz"], "pictures of the ten digits"),
        (["logits", "--set", "data.arrays=DATA/glyphs.npz"], "images of 0, 1, 10, 11"),
        (["mnist", "--set", "data.table=DATA/words.tsv"], "holds text"),
        (["page"], "no experiment is done here"),
        (["mnist", "--set", "data.arrays=DATA/digits.npz", "--names", "gone.tsv"], "gone.tsv: No"),
        (["mnist", "--set", "data.arrays=DATA/digits.npz", "--names", "DATA/no3.npz"], "'utf-8'"),
        (["mnist", "--set", "data.arrays=DATA/digits.npz", "--names", "DATA/a.txt"], "has a tab"),
        (["mnist", "--set", "data.arrays=DATA/digits.npz", "--page", "no/page.md"], "mkdir -p no"),
        (["mnist", "--set", "data.arrays=DATA/digits.npz", "--page", "DATA"], "is a folder"),
        (["mnist", "--set", "data.arrays=DATA/digits.npz", "--page", "DATA/a.txt"], "such a page"),
    ],
)
def test_what_cannot_work_is_one_message(arguments, told, data, tmp_path):
    given = [argument.replace("DATA", str(data)) for argument in arguments]
    quick = [] if given == ["page"] else SMALL
    result = reproduce(*given, *quick, "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert told in result.output
    assert "to mend it" in result.output or "expected" in result.output
    assert not (tmp_path / "new").exists()


def test_a_quick_trial_touches_no_full_reproduction_and_its_page_says_that_it_is_one(
    data, done, tmp_path
):
    assert "Made with `--quick`" in (done / "paper.md").read_text()
    full = tmp_path / "full"
    shutil.copytree(done, full)
    write_json(full / ".specialists.json", {"kind": REPRODUCTION, "code": CODE_VERSION})
    before = (full / "mnist.json").stat().st_mtime_ns
    settings = ["--set", f"data.arrays={data / 'digits.npz'}", *SMALL, "--out", full]
    result = reproduce("mnist", *settings)
    assert result.exit_code == 2
    assert "this is not the folder of a quick reproduction" in result.output
    assert (full / "mnist.json").stat().st_mtime_ns == before
    assert reproduce("page", "--out", full).exit_code == 0
    assert "--quick" not in (full / "paper.md").read_text()


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"lines": []}', '{"lines": 1, "drawings": {"a": "gone.svg"}}']
)
def test_a_damaged_section_names_the_command_that_makes_it_again(done, tmp_path, content):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    (folder / "transfer.json").write_text(content)
    result = reproduce("page", "--out", folder)
    assert result.exit_code == 2
    assert "transfer.json" in result.output
    assert "`specialists reproduce transfer`, as it was called before" in result.output


def test_a_page_of_somebody_else_is_not_replaced(done, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("mine")
    result = reproduce("page", "--out", done, "--page", page)
    assert result.exit_code == 2
    assert page.read_text() == "mine"


def test_two_commands_do_not_work_in_one_folder(done, data):
    with locked(done, QUICK_REPRODUCTION):
        result = reproduce("page", "--out", done)
    assert "another process works on this quick-reproduction" in result.output


def test_a_run_is_not_made_in_the_folder_of_a_reproduction(done):
    result = CliRunner().invoke(app, ["run", "--out", str(done)])
    assert result.exit_code == 2
    assert "the folder of a quick reproduction" in result.output


def test_names_of_classes_are_read_for_people(done, data, tmp_path):
    names = tmp_path / "names.tsv"
    names.write_text("".join(f"c{i}\tclass number {i}\n" for i in range(15)))
    settings = [*FEW, "--set", f"data.arrays={data / 'blobs.npz'}", *SMALL, "--out", done]
    result = reproduce("specialists", *settings, "--names", names)
    assert "subset 1: class number" in result.output


def test_the_time_of_each_training_is_kept(done):
    files = list((done / "models/digits").glob("*/timing-cpu.json"))
    assert len(files) == len(list((done / "models/digits").iterdir()))
    assert table_of(done, "mnist").seconds == {
        f"digits/{file.parent.name}": json.loads(file.read_text())["seconds"]
        for file in files
        if file.parent.name.partition("-")[0] in ("large", "small", "taught")
    }
    (files[0].parent / "timing-cpu.json").write_text('{"seconds": ')
    assert kept_training.cpu_seconds(files[0].parent) == 0


def test_a_training_that_serves_several_sections_is_counted_once(tmp_path):
    for name in ("mnist", "transfer"):
        PaperTable(name, name, (), seconds={"digits/large": 3600.0, name: 720.0}).write(tmp_path)
    write_page(tmp_path)
    assert "All trainings together: 1.4 CPU hours" in (tmp_path / "paper.md").read_text()
