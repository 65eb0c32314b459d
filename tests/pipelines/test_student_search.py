"""A student's recipe is searched by successive halving, and so is that of hard labels."""

from collections import Counter

import pytest
import small_run

from pipelines import stages, student_search
from pipelines.distill_student import student_outputs
from pipelines.runs import Run
from specialists.files import read_json, sha256

pytestmark = pytest.mark.xdist_group("small_run")

RATES = "student.tuning.search.learning_rate=[1e-5, 0.05, 3e-5, 1e-4]"
SEARCH = ("student.epochs=8", "student.learning_rate=", RATES, "student.tuning.eta=2")


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """A run whose predictions are combined."""
    folder = tmp_path_factory.mktemp("search")
    empty = small_run.make_run(folder / "empty")
    own = "combination.rules=['kl']", "combination.admission=off"
    run = small_run.changed_copy(empty, folder / "run", *own)
    stages.run_stages(run, "combine-predictions")
    return run


@pytest.fixture(scope="module")
def searched(combined):
    """The same with a student that was searched for; one learning rate is clearly the best."""
    run = small_run.changed_copy(combined, combined.folder.parent / "searched", *SEARCH)
    stages.run_stages(run, "distill-student")
    return run


def trials_of(run: Run, model: str | None = None) -> list[dict]:
    trials = read_json(run.path("distill-student", "trials.json"))
    return [trial for trial in trials if model in (None, trial["model"])]


def test_the_candidate_that_is_clearly_best_is_the_student(searched):
    for model in ("student", "student_hard_labels"):
        (chosen,) = (trial for trial in trials_of(searched, model) if trial["chosen"])
        assert (chosen["learning_rate"], chosen["share"]) == (0.05, 1)


def test_each_rung_trains_fewer_for_longer_and_hard_labels_have_as_many(searched):
    for model in ("student", "student_hard_labels"):
        trials = trials_of(searched, model)
        assert Counter(trial["rung"] for trial in trials) == {1: 4, 2: 2, 3: 1}
        seen = {(trial["rung"], trial["training_examples"]) for trial in trials}
        assert seen == {(1, 2 * 480), (2, 4 * 480), (3, 8 * 480)}
        for rung in (1, 2):
            scores = {t["candidate"]: t["validation_top1"] for t in trials if t["rung"] == rung}
            left = {t["candidate"] for t in trials if t["rung"] == rung + 1}
            assert min(scores[i] for i in left) >= max(scores[i] for i in scores.keys() - left)
