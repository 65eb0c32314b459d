"""A run stores as much of its teacher's predictions as the configuration says."""

import re

import pytest
import small_run
import torch

from pipelines import stages
from pipelines.context import RunContext
from pipelines.distill_student import spec_of_size, student_tasks
from pipelines.soft_targets import online_teacher, read_soft_targets, replayed_views
from pipelines.student_task import student_data
from specialists.distillation import SparseTargets, student_examples
from specialists.files import read_json

pytestmark = pytest.mark.xdist_group("small_run")


@pytest.mark.parametrize("store", ["top", "sampled"])
def test_a_student_of_a_run_learns_from_few_numbers_an_example(tmp_path, store, capsys):
    settings = [
        f"student.targets={store}",
        "student.n_targets=4",
        "student.temperatures=[1.0, 2.0]",
    ]
    empty = small_run.make_run(tmp_path / "empty")
    run = small_run.changed_copy(empty, tmp_path / "run", *settings, "combination.admission=off")
    stages.run_stages(run, until="distill-student")
    told = capsys.readouterr().out
    assert "\ncombine-predictions: validation chose " in told
    learns = "the student learns from its teacher's predictions of 480 rows at 2 temperatures"
    n_bytes = {"top": 4 * 2 + 5 * 2, "sampled": 4 * 3}[store]
    takes = rf"which take [\d.]+ kB of disk, {n_bytes} bytes a row at each"
    assert re.search(rf"\ndistill-student: {learns}, {takes}\n", told)
    context = RunContext.open(run.folder)
    taught = online_teacher(context, "ensemble")(context.dataset.train.inputs).dense()
    stored = read_soft_targets(run.path("distill-student", "targets"), store, 2.0)
    assert isinstance(stored, SparseTargets)
    assert stored.bytes_per_example == n_bytes
    rows = torch.arange(len(stored))
    kept = stored.parts[0][rows]
    if store == "top":
        assert torch.equal(kept, taught.topk(4).indices)
    else:
        chance = (taught / 2).softmax(1).gather(1, kept).mean()
        assert chance > 2 / taught.shape[1]
    trials = read_json(run.path("distill-student", "trials.json"))
    soft = [trial for trial in trials if trial["model"] == "student"]
    assert {trial["temperature"] for trial in soft} == {1.0, 2.0}


def test_other_stored_targets_are_made_again(tmp_path):
    empty = small_run.make_run(tmp_path / "empty")
    settings = ["student.targets=top", "combination.admission=off", "student.temperatures=[1.0]"]
    run = small_run.changed_copy(empty, tmp_path / "run", *settings, "student.n_targets=2")
    stages.run_stages(run, until="distill-student")
    more = small_run.changed_copy(run, tmp_path / "more", "student.n_targets=3")
    stages.run_stages(more, until="distill-student")
    folders = [each.path("distill-student", "targets") for each in (run, more)]
    sizes = [read_soft_targets(f, "top", 1.0).parts[0].array.shape[1] for f in folders]  # pyright: ignore
    assert sizes == [2, 3]


@pytest.mark.parametrize("store", ["dense", "top"])
def test_targets_of_replayed_views_are_those_of_the_online_teacher(tmp_path, store):
    settings = ["student.views=2", "data.augment=true", f"student.targets={store}"]
    settings += ["student.temperatures=[1.0]", "combination.admission=off"]
    settings += ["student.n_targets=11"] if store == "top" else []
    empty = small_run.make_run(tmp_path / "empty")
    run = small_run.changed_copy(empty, tmp_path / "run", *settings)
    stages.run_stages(run, until="distill-student")
    context = RunContext.open(run.folder)
    folder, n = run.path("distill-student", "targets"), len(context.dataset.train)
    assert len(read_soft_targets(folder, store, 1.0)) == 2 * n
    views = replayed_views(context)
    assert views is not None
    assert read_json(folder / "manifest.json")["config"]["augmentation seed"] == views.seed
    task = student_tasks(context, spec_of_size(context))[0]
    examples = student_examples(*student_data(context, task), views)
    teacher = online_teacher(context, "ensemble")
    for number in range(2):
        batch = examples.batch(number * n + torch.arange(50), torch.Generator())
        shown = views.view(context.dataset.train.inputs, number)[torch.arange(50)]
        assert torch.equal(batch.inputs, shown)  # pyright: ignore[reportArgumentType]
        expected = teacher(batch.inputs).dense()
        if store == "top":
            classes, cells, labels = batch.targets
            expected, found = expected.gather(1, classes), cells[:, :-1]
        else:
            found, labels = batch.targets
        torch.testing.assert_close(found.float(), expected.float(), atol=4e-3, rtol=2e-3)
        assert torch.equal(labels, context.dataset.train.labels[:50])
