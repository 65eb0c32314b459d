"""What students learn from, of what size they are, and by which recipe."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import small_run
import torch
from torch import nn
from torch.nn import functional as F

from pipelines import stages
from pipelines.combine_predictions import open_ensemble
from pipelines.context import RunContext
from pipelines.distill_student import spec_of_size, student_tasks
from pipelines.soft_targets import teaching_rule, write_soft_targets
from pipelines.student_task import StudentTask, student_data
from pipelines.trunk_files import generalist_targets
from specialists.baselines import widened
from specialists.config import Recipe, StudentConfig
from specialists.datasets.base import Split
from specialists.distillation import (
    changed_recipe,
    distil,
    labelled_rows,
    student_examples,
    student_training,
    teacher_predictions,
)
from specialists.distillation.teachers import TaughtExamples
from specialists.ensemble import CombinationRule
from specialists.errors import InputError
from specialists.files import read_json, write_json
from specialists.losses import UNLABELLED
from specialists.networks import (
    NetworkSpec,
    build,
    load_network,
    n_parameters,
    outline,
    save_network,
    with_allowed_rank,
)
from specialists.predictions import DensePredictions, StoredPredictions, network_predictions
from specialists.runtime import Hardware
from specialists.training import TensorExamples


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Of a run whose predictions are combined."""
    folder = tmp_path_factory.mktemp("distillation")
    run = small_run.make_run(folder / "settings")
    run = small_run.changed_copy(run, folder / "run", "combination.rules=['kl']")
    stages.run_stages(run, "combine-predictions")
    return RunContext.open(run.folder)


def task(workspace: RunContext, **changes) -> StudentTask:
    recipe, spec = workspace.config.student, spec_of_size(workspace)
    folder = workspace.path("trial")
    values = {"targets": write_soft_targets(workspace), "temperature": 1.0, "alpha": 0.7}
    return StudentTask(workspace.folder, folder, "student", spec, recipe, **(values | changes))


def examples_of(workspace: RunContext, wanted: StudentTask):
    return student_examples(*student_data(workspace, wanted), workspace.augment)


def test_a_share_of_every_class_is_labelled_and_at_least_one_row():
    labels = torch.tensor([2] * 40 + [0] * 20 + [3] * 2).roll(7)
    rows = labelled_rows(labels, 0.1, seed=3)
    assert torch.bincount(labels[rows]).tolist() == [2, 0, 4, 1]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(rows, labelled_rows(labels, 0.1, seed=3))
    assert not torch.equal(rows, labelled_rows(labels, 0.1, seed=4))


def test_the_generalists_targets_are_its_calibrated_log_probs(workspace):
    network, _, about = load_network(workspace.path("train-generalist"))
    inputs = workspace.dataset.train.inputs
    expected = network_predictions(network, inputs, about["temperature"]).dense()
    found = StoredPredictions(generalist_targets(workspace)).dense().float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("soft", [True, False])
def test_few_labels_come_with_their_own_inputs_and_targets(workspace, soft):
    wanted = task(workspace, labelled_share=0.1, **({} if soft else {"targets": None}))
    examples, train = examples_of(workspace, wanted), workspace.dataset.train
    assert len(examples) == 12 * 4
    assert isinstance(train.inputs, torch.Tensor)
    batch = examples.batch(torch.tensor([5, 40]), torch.Generator())
    assert isinstance(batch.inputs, torch.Tensor)
    rows = [int((train.inputs == one).all(1).nonzero()) for one in batch.inputs]
    assert batch.targets[-1].tolist() == train.labels[rows].tolist()
    assert len(batch.targets) == 1 + soft
    if wanted.targets is not None:
        expected = StoredPredictions(wanted.targets)[torch.tensor(rows)].dense().float()
        torch.testing.assert_close(batch.targets[0].float(), expected)


def test_the_other_rows_may_be_learned_from_without_their_labels(workspace):
    wanted = task(workspace, labelled_share=0.1, transfer=True)
    few = examples_of(workspace, dataclasses.replace(wanted, transfer=False))
    examples, labels = examples_of(workspace, wanted), workspace.dataset.train.labels
    found = examples.batch(torch.arange(len(labels)), torch.Generator()).targets[1]
    known = found != UNLABELLED
    assert int(known.sum()) == len(few)
    assert torch.equal(found[known], labels[known])
    assert len(examples) == len(labels)


def test_a_trial_without_few_labels_has_the_key_that_it_always_had(workspace):
    usual = task(workspace)
    assert "labelled_share" not in str(usual.key(workspace))
    few = dataclasses.replace(usual, labelled_share=0.1)
    transfer = dataclasses.replace(few, transfer=True)
    keys = [str(t.key(workspace)) for t in (usual, few, transfer)]
    assert len(set(keys)) == 3


def test_a_recipe_is_scaled_in_rate_and_length():
    recipe = StudentConfig(epochs=4, learning_rate=0.5, patience=3, label_smoothing=0.2)
    changed = changed_recipe(recipe, rate=2.0, passes=2.5)
    assert (changed.epochs, changed.learning_rate, changed.patience) == (10, 1.0, 8)
    to_the_end = recipe.model_copy(update={"patience": None})
    assert changed_recipe(to_the_end, passes=2.5).patience is None
    assert (changed.embedding_learning_rate, changed.label_smoothing) == (None, 0.2)
    assert changed_recipe(recipe, smoothing=0.0).label_smoothing == 0.0
    assert changed_recipe(recipe) == recipe


def test_students_with_and_without_teacher_have_as_many_trials(workspace):
    tasks = student_tasks(workspace, spec_of_size(workspace))
    assert [t.model for t in tasks] == ["student", "student_hard_labels"]
    assert [t.targets is None for t in tasks] == [False, True]


def text_generalist(tmp_path, head_rank: int | None = None) -> NetworkSpec:
    shape = {"width": 64, "embedding_dim": 16, "n_buckets": 32, "head_rank": head_rank}
    spec = NetworkSpec("hashed_text", 100, (), **shape)
    save_network(build(spec), spec, tmp_path / "train-generalist")
    return spec


class TextRunContext:
    """What `spec_of_size` reads of a workspace."""

    def __init__(self, folder, **settings):
        self.config = type("Config", (), {"student": StudentConfig(**settings)})
        self.dataset = type("Dataset", (), {"kind": "text", "class_names": ()})
        self.path = folder.joinpath


@pytest.mark.parametrize(
    ("head_rank", "size", "rows", "columns"),
    [
        (None, 1, 32, 16),
        (8, 1, 32, 16),
        (None, 1 / 4, 16, 8),
        (8, 1 / 4, 16, 8),
        (None, 1 / 16, 16, 2),
    ],
)
def test_a_student_shrinks_its_table_and_all_else_alike(tmp_path, head_rank, size, rows, columns):
    generalist = text_generalist(tmp_path, head_rank)
    spec = spec_of_size(TextRunContext(tmp_path), size)  # type: ignore[arg-type]
    assert (spec.n_buckets, spec.embedding_dim) == (rows, columns)
    upper = [n_parameters(outline(s), tables=False) for s in (generalist, spec)]
    assert size * upper[0] * 0.85 < upper[1] <= size * upper[0]
    if size == 1:
        assert spec == generalist


def test_a_student_keeps_a_cheap_head_only_where_it_is_cheaper(tmp_path):
    text_generalist(tmp_path, head_rank=30)
    table = {"embedding_dim": 16, "n_buckets": 32}
    wide = spec_of_size(TextRunContext(tmp_path, width=60, **table))  # type: ignore[arg-type]
    narrow = spec_of_size(TextRunContext(tmp_path, width=8, **table))  # type: ignore[arg-type]
    assert (wide.head_rank, narrow.head_rank) == (30, None)
    assert with_allowed_rank(narrow) == narrow


def test_a_wide_generalist_has_a_cheap_head_of_the_same_rank(workspace):
    spec = NetworkSpec("mlp", 12, (small_run.DIM,), width=12, head_rank=3)
    cost = 2 * (small_run.DIM * 30 + (30 + 12) * 3)
    wide = widened(spec, workspace.dataset.test.inputs, cost)
    assert wide == dataclasses.replace(spec, width=30)


def test_an_online_teacher_answers_what_the_student_sees(workspace):
    data = workspace.config.data.model_copy(update={"augment": True})
    config = workspace.config.model_copy(update={"data": data})
    augmented = dataclasses.replace(workspace, config=config)
    examples = examples_of(augmented, task(workspace, online="ensemble"))
    assert isinstance(examples, TaughtExamples)
    index = torch.arange(20, 50)
    batch = examples.batch(index, torch.Generator().manual_seed(1)).to(torch.device("cpu"))
    assert isinstance(batch.inputs, torch.Tensor)
    plain = workspace.dataset.train.inputs[index]
    assert isinstance(plain, torch.Tensor)
    assert (batch.inputs != plain).any()  # features are dropped
    rule = teaching_rule(workspace)
    ensemble = dataclasses.replace(open_ensemble(workspace), rule=rule)
    expected = ensemble.predictions(batch.inputs).dense()
    torch.testing.assert_close(batch.targets[0], expected)
    assert not torch.allclose(expected, ensemble.predictions(plain).dense(), atol=0.1)
    assert torch.equal(batch.targets[1], workspace.dataset.train.labels[index])


def test_the_generalist_alone_is_asked_too(workspace):
    examples = examples_of(workspace, task(workspace, online="generalist"))
    index = torch.arange(20, 50)
    batch = examples.batch(index, torch.Generator()).to(torch.device("cpu"))
    alone = (
        open_ensemble(workspace)
        .generalist_predictions(workspace.dataset.train.inputs[index])
        .dense()
    )
    torch.testing.assert_close(batch.targets[0], alone)
    both = examples_of(workspace, task(workspace, online="ensemble"))
    ensemble = both.batch(index, torch.Generator()).to(torch.device("cpu")).targets[0]
    assert not torch.allclose(ensemble, alone, atol=0.1)


def test_a_teacher_is_asked_before_its_batch_leaves_for_the_device(workspace):
    asked = []

    def teacher(inputs):
        asked.append(inputs.device.type)
        return DensePredictions(torch.zeros(len(inputs), 12))

    examples = examples_of(workspace, task(workspace, targets=None))
    assert isinstance(examples, TensorExamples)
    taught = TaughtExamples(examples, teacher).batch(torch.arange(4), torch.Generator())
    batch = taught.to(torch.device("meta"))
    assert isinstance(batch.inputs, torch.Tensor)
    assert asked == ["cpu"]
    assert {batch.inputs.device.type, *(t.device.type for t in batch.targets)} == {"meta"}


def test_students_begin_with_the_same_weights_whoever_teaches_them(workspace, monkeypatch):
    begun = []

    class BegunError(Exception):
        pass

    def begin(network, *_, **__):
        begun.append(network.state_dict()["head.weight"].clone())
        raise BegunError

    monkeypatch.setattr(student_training, "Trainer", begin)
    for changes in ({"targets": None}, {}, {"online": "ensemble"}):
        with pytest.raises(BegunError):
            task(workspace, **changes).train(workspace, workspace.path("trial"))
    assert torch.equal(begun[0], begun[1])
    assert torch.equal(begun[0], begun[2])


@pytest.mark.parametrize("online", ["ensemble", None])
def test_a_teacher_is_asked_about_rows_that_the_generalist_is_sure_of(workspace, tmp_path, online):
    run = Path(shutil.copytree(workspace.folder, tmp_path / "run"))
    file = run / "combine-predictions" / "choice.json"
    choice = read_json(file)
    dustbin = {"specialist": 0.0, "generalist": 0.0, "bias": -3.0}
    fitted = {"confidence": 0.0, "dustbin": dustbin}
    choice["chosen"] = {"rule": "kl", "n": 2, "weight": 1.0, **fitted}
    write_json(file, choice)
    deferring = RunContext.open(run)
    index = torch.arange(20, 50)
    examples = examples_of(deferring, task(deferring, online=online))
    batch = examples.batch(index, torch.Generator()).to(torch.device("cpu"))
    ensemble, plain = open_ensemble(deferring), deferring.dataset.train.inputs[index]
    always = dataclasses.replace(ensemble, rule=CombinationRule("kl", 2)).predictions(plain).dense()
    torch.testing.assert_close(batch.targets[0].float(), always, rtol=1e-3, atol=1e-2)
    rule = CombinationRule.from_dict(choice["chosen"])
    alone = dataclasses.replace(ensemble, rule=rule).predictions(plain).dense()
    assert torch.equal(alone, ensemble.generalist_predictions(plain).dense())
    assert not torch.allclose(always, alone, atol=0.1)


def test_targets_of_another_rule_are_made_anew(workspace, tmp_path):
    run = Path(shutil.copytree(workspace.folder, tmp_path / "run"))
    folder = write_soft_targets(RunContext.open(run))
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | {"config": {}})  # as earlier versions wrote it
    (folder / "rows-0000.npy").write_bytes(b"old")
    assert read_json(write_soft_targets(RunContext.open(run)) / "manifest.json") == manifest
    assert (folder / "rows-0000.npy").read_bytes() != b"old"


def test_a_pinned_batch_is_still_taught(workspace, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    batch = examples_of(workspace, task(workspace, online="ensemble")).batch(
        torch.arange(4), torch.Generator()
    )
    assert batch.pin_memory().to(torch.device("cpu")).targets[0].shape == (4, 12)


CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])


class Teacher(nn.Module):
    """A linear model; has dropout, which must be off when it is asked."""

    def forward(self, x):
        return F.dropout(x @ CENTRES.T, 0.5, self.training)


def examples_of_three_classes(n: int, seed: int) -> Split:
    """Random points, with labels that are drawn as the teacher says."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 2, generator=generator)
    probs = Teacher().eval()(inputs).softmax(1)
    return Split(inputs, torch.multinomial(probs, 1, generator=generator).squeeze(1))


RECIPE = Recipe(epochs=20, batch_size=32, learning_rate=0.05)
TEACHERS = {
    "module": lambda inputs: Teacher(),
    "callable": lambda inputs: lambda x: Teacher().eval()(x).log_softmax(1),
    "tensor": lambda inputs: teacher_predictions(Teacher(), inputs),
}


def distilled(teacher: str | None, folder=None):
    torch.manual_seed(0)
    train, validation = examples_of_three_classes(400, 1), examples_of_three_classes(200, 2)
    taught_by = None if teacher is None else TEACHERS[teacher](train.inputs)
    hardware = Hardware("cpu", "float32")
    settings = {"temperature": 2.0, "alpha": 1.0, "hardware": hardware, "folder": folder}
    return distil(nn.Linear(2, 3), taught_by, train, validation, RECIPE, **settings)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_a_student_becomes_its_teacher_however_that_is_given(teacher, tmp_path):
    student, x = distilled(teacher), examples_of_three_classes(300, 3).inputs
    found = student.network(x).log_softmax(1)
    torch.testing.assert_close(found.exp(), Teacher().eval()(x).softmax(1), atol=0.05, rtol=0)
    torch.testing.assert_close(
        student.predictions(x).dense(), (student.network(x) / student.temperature).log_softmax(1)
    )
    again = distilled(teacher, tmp_path)
    assert torch.equal(again.network(x), student.network(x))
    assert (tmp_path / "metrics.jsonl").is_file()


def test_a_student_without_a_teacher_learns_the_labels():
    student, validation = distilled(None), examples_of_three_classes(200, 2)
    assert student.top1 > 0.7
    nll = F.nll_loss(student.predictions(validation.inputs).dense(), validation.labels)
    assert float(nll) <= student.loss + 1e-4  # calibrated on these rows
    taught = distilled("module").predictions(validation.inputs).dense()
    assert not torch.equal(taught, student.predictions(validation.inputs).dense())


def test_targets_of_other_inputs_are_refused():
    train = examples_of_three_classes(40, 1)
    with pytest.raises(InputError, match="39 predictions for 40 inputs"):
        student_examples(train, torch.zeros(39, 3))
