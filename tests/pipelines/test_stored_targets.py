"""A run stores as much of its teacher's predictions as the configuration says."""

import pytest
import small_run
import torch

from pipelines import stages
from pipelines.context import RunContext
from pipelines.soft_targets import online_teacher, read_soft_targets
from specialists.distillation import SparseTargets
from specialists.files import read_json

pytestmark = pytest.mark.xdist_group("small_run")


@pytest.mark.parametrize("store", ["top", "sampled"])
def test_a_student_of_a_run_learns_from_few_numbers_an_example(tmp_path, store):
    settings = [
        f"student.targets={store}",
        "student.n_targets=4",
        "student.temperatures=[1.0, 2.0]",
    ]
    empty = small_run.make_run(tmp_path / "empty")
    run = small_run.changed_copy(empty, tmp_path / "run", *settings, "combination.admission=off")
    stages.run_stages(run, until="distill-student")
    context = RunContext.open(run.folder)
    taught = online_teacher(context, "ensemble")(context.dataset.train.inputs).dense()
    stored = read_soft_targets(run.path("distill-student", "targets"), store, 2.0)
    assert isinstance(stored, SparseTargets)
    assert stored.bytes_per_example == {"top": 4 * 2 + 5 * 2, "sampled": 4 * 2}[store]
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
