"""Students learn from other inputs than those of training, of fewer classes, or with few labels."""

import numpy as np
import pytest
import small_run
import torch
from torch import nn
from torch.nn import functional as F

import specialists
from pipelines import stages
from pipelines.context import RunContext
from pipelines.distill_student import spec_of_size, student_tasks
from pipelines.run_settings import check_run
from pipelines.soft_targets import read_soft_targets
from pipelines.student_task import student_data
from specialists.classifier import TrainedClassifier
from specialists.datasets.base import Split
from specialists.distillation import with_raised_classes
from specialists.distillation.missing_classes import fit_missing_bias
from specialists.errors import ConfigError, InputError
from specialists.files import read_json
from specialists.losses import UNLABELLED
from specialists.training import TrainingCost

pytestmark = pytest.mark.xdist_group("small_run")


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """A run whose predictions are combined, and a file of 30 more inputs."""
    folder = tmp_path_factory.mktemp("transfer")
    run = small_run.changed_copy(
        small_run.make_run(folder / "empty"), folder / "run", "combination.rules=['kl']"
    )
    stages.run_stages(run, "combine-predictions")
    np.save(folder / "more.npy", small_run.features(3, 17)[0][:30])
    return run


@pytest.fixture
def students(combined, tmp_path):
    def trained(*settings):
        more = combined.folder.parent / "more.npy"
        changed = (f"student.{setting}".replace("MORE", str(more)) for setting in settings)
        run = small_run.changed_copy(combined, tmp_path / "run", *changed)
        stages.run_stages(run, "distill-student")
        return run

    return trained


def rows_of(run):
    """What each of the two students is trained on."""
    context = RunContext.open(run.folder)
    tasks = student_tasks(context, spec_of_size(context))
    return context, [student_data(context, task) for task in tasks]


def test_a_student_of_unlabelled_inputs_alone_sees_nothing_else(students):
    run = students("unlabelled=MORE", "transfer_set=unlabelled", "alphas=[1.0]")
    context, ((soft, targets), (hard, none)) = rows_of(run)
    assert len(soft) == 30
    assert soft.labels.unique().tolist() == [UNLABELLED]
    assert (len(hard), none) == (len(context.dataset.train), None)
    stored = read_soft_targets(run.path("distill-student", "targets"), "dense", 1.0)
    assert len(stored) == len(targets) == 30  # pyright: ignore[reportArgumentType]
    expected = specialists.load(run.folder, "ensemble").predictions(soft.inputs).dense()
    assert (stored.dense().argmax(1) == expected.argmax(1)).double().mean() > 0.8  # pyright: ignore
    trials = read_json(run.path("distill-student", "trials.json"))
    assert [trial.get("transfer_set") for trial in trials] == ["unlabelled", None]


def test_a_tenth_of_the_labels_goes_with_soft_targets_of_all_inputs(students):
    run = students("labelled_share=0.1", "unlabelled=MORE")
    context, ((soft, targets), (hard, _)) = rows_of(run)
    n = len(context.dataset.train)
    assert len(soft) == len(targets) == n + 30  # pyright: ignore[reportArgumentType]
    known = soft.labels != UNLABELLED
    assert int(known.sum()) == len(hard) == pytest.approx(n / 10, abs=12)
    assert torch.equal(soft.labels[known], context.dataset.train.labels[known[:n]])
    assert torch.equal(soft.inputs[known], hard.inputs)  # pyright: ignore
    results = [
        read_json(run.path("distill-student", name, "result.json"))
        for name in ("student", "student_hard_labels")
    ]
    assert results[0]["training_examples"] == 2 * n  # two epochs: more inputs, no more steps
    assert results[1]["training_examples"] == pytest.approx(
        results[0]["training_examples"], rel=0.2
    )


def test_one_label_of_each_class_is_seen_as_often_as_there_are_rows(combined, tmp_path):
    run = small_run.changed_copy(combined, tmp_path / "run", "student.labelled_share=0.001")
    context = RunContext.open(run.folder)
    soft, hard = student_tasks(context, spec_of_size(context))
    n_labelled = len(student_data(context, hard)[0])
    assert n_labelled == context.dataset.n_classes
    seen, once = (task.recipe.epochs or 0 for task in (hard, soft))
    assert seen * n_labelled == pytest.approx(once * len(context.dataset.train), abs=n_labelled)


def test_rows_of_classes_that_are_left_out_are_seen_by_no_student_and_targets_fit_the_others(
    students,
):
    run = students("leave_out=['a0', 'b1']", "unlabelled=MORE")
    context, ((soft, targets), (hard, _)) = rows_of(run)
    names, train = context.dataset.class_names, context.dataset.train
    left = torch.tensor([names.index("a0"), names.index("b1")])
    kept = ~torch.isin(train.labels, left)
    assert torch.equal(hard.labels, train.labels[kept])
    assert torch.equal(soft.labels[: len(hard)], hard.labels)
    assert len(soft) == len(hard) + 30
    assert torch.equal(soft.inputs[: len(hard)], train.inputs[kept])  # pyright: ignore
    stored = read_soft_targets(run.path("distill-student", "targets"), "dense", 1.0)
    all_rows = torch.cat([kept, torch.ones(30, dtype=torch.bool)])
    assert torch.equal(targets.dense(), stored.dense()[all_rows])  # pyright: ignore


def test_a_student_answers_with_a_class_that_it_was_never_shown(students):
    run = students("leave_out=['a0']", "epochs=12", "width=16", "alphas=[1.0]")
    arrays = np.load(str(run.config.data.arrays))
    student = specialists.load(run.folder)
    answers = student.predict_proba(arrays["x_test"]).argmax(1)
    right = np.array(student.class_names)[answers] == arrays["y_test"]
    assert right[arrays["y_test"] == "a0"].mean() > 0.2
    assert right.mean() > 0.4


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("['a0', 'nobody']", "nobody, which the data do not have"),
        (str(list(small_run.NAMES)), "all classes"),
    ],
)
def test_classes_that_cannot_be_left_out_are_told_before_a_training(
    combined, tmp_path, names, message
):
    run = small_run.changed_copy(combined, tmp_path / "run", f"student.leave_out={names}")
    with pytest.raises(ConfigError, match=message):
        check_run(run)


def classifier(bias: bool = True) -> tuple[TrainedClassifier, Split]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3, bias=bias)).eval()
    x = 10 * torch.randn(200, 4)
    labels = (network(x) + torch.tensor([0.0, 0.0, 3.0])).argmax(1)
    cost = TrainingCost()
    return (
        TrainedClassifier(
            best_epoch=0,
            loss=9.0,
            top1=0.0,
            cost=cost,
            network=network,
            temperature=2.0,
            inference_flops=1.0,
        ),
        Split(x, labels),
    )


def test_the_bias_is_part_of_the_raised_network_and_its_scores_are_those_of_validation():
    student, validation = classifier()
    before = student.network(validation.inputs).detach()
    fitted = fit_missing_bias(before, validation.labels, [2])
    raised = with_raised_classes(student, validation, [2])
    assert fitted.bias > 1
    said = raised.predictions(validation.inputs).dense()
    torch.testing.assert_close(said, fitted.log_probs(before))
    assert raised.loss == pytest.approx(F.nll_loss(said, validation.labels).item())
    assert raised.top1 == pytest.approx(
        (said.argmax(1) == validation.labels).double().mean().item()
    )
    assert raised.top1 > 0.9


def test_a_head_without_biases_cannot_be_raised():
    with pytest.raises(InputError, match="no bias to raise"):
        with_raised_classes(*classifier(bias=False), [2])
