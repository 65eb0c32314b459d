"""Shared specialists in a run: made, resumed, combined, taught from, predicted with, reported."""

import re
from dataclasses import replace

import numpy as np
import pytest
import small_run

import specialists
from pipelines import stages
from pipelines.classifiers import Member
from pipelines.combine_predictions import open_ensemble
from pipelines.context import RunContext
from pipelines.runs import Run
from pipelines.shared_specialists import load_shared_specialists, shared_tasks, shortlisting
from pipelines.soft_targets import online_teacher, teaching_rule
from pipelines.train_generalist import cross_fitted_generalists, initial_generalists
from specialists.ensemble import Choice
from specialists.errors import InputError
from specialists.evaluation import Details, Evaluation
from specialists.files import artifacts, read_array, read_json, sha256
from specialists.predictions import StoredPredictions, read_rows

pytestmark = pytest.mark.xdist_group("small_run")
KINDS = {
    "shared": ["specialists.kind=shared", "specialists.n_shared=2", "specialists.shortlist=3"],
    "both": ["specialists.kind=both", "specialists.shortlist_of=clusters", "combination.n=[1]"],
}


@pytest.fixture(scope="module", autouse=True)
def no_sync():
    """Syncing guards against power cuts, and takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "sync", lambda path: None)
        yield


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory) -> Run:
    """A finished run with shared specialists."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = ["evaluation.baselines=[]", "combination.admission=off", "combination.max_cost=4"]
    empty = small_run.make_run(folder / "empty")
    made = small_run.changed_copy(empty, folder / "run", *settings, *KINDS[request.param])
    stages.run_stages(made)
    return made


def test_what_a_run_leaves_of_them(run):
    context = RunContext.open(run.folder)
    is_both = context.config.specialists.kind == "both"
    names = {path.name for path in run.path("train-specialists").iterdir() if path.is_dir()}
    assert names >= {task.folder.name for task in shared_tasks(context)} | {"shortlists"}
    assert any(name.startswith("specialist-") for name in names) == is_both
    rules = read_json(run.path("combine-predictions", "choice.json"))["rules"]
    assert list(rules) == ["ensemble", "ensemble_paper", "ensemble_all"][: 3 if is_both else 1]
    costs = read_json(run.path("combine-predictions", "costs.json"))
    assert any("shared-000" in folder for folder in costs["ensemble"]["trainings"])
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert is_both or re.search("[12] shared specialists?, (each )?with", page)


def test_the_report_says_on_which_rows_they_gain(run):
    context = RunContext.open(run.folder, test_labels=True)
    details = Details.from_dict(read_json(run.path("evaluate-models", "details.json")))
    evaluation = Evaluation.from_dict(read_json(run.folder / "evaluation.json"))
    shared = details.shared
    assert shared is not None
    is_both = context.config.specialists.kind == "both"
    assert (evaluation.n_specialists, shared.of_clusters) == ((3, True) if is_both else (0, False))
    generalist = read_rows(run.path("combine-predictions", "test.generalist.npy"))
    listed = shortlisting(context)(generalist) == context.split("test").labels[:, None]
    assert shared.on_shortlist == pytest.approx(float(listed.any(1).double().mean()))
    rows = sum(kind.n_test for kind in shared.kinds)
    assert rows == (evaluation.n_test if shared.n_answering else 0)
    gains = sum(kind.n_test * kind.gain for kind in shared.kinds) / evaluation.n_test
    models = evaluation.models
    if shared.kinds:
        assert gains == pytest.approx(models["ensemble"].top1 - models["generalist"].top1)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<h2 id="shared">') == 1
    assert f"shortlist in {shared.on_shortlist:.1%} of the test rows" in page


def test_independent_generalists_are_trained_for_specialists_of_clusters_alone(run):
    context = RunContext.open(run.folder)
    settings = context.config.specialists.model_copy(update={"start": "independent"})
    config = context.config.model_copy(update={"specialists": settings})
    trainings = initial_generalists(replace(context, config=config))
    assert bool(trainings) == (settings.kind == "both")


def test_the_shortlists_of_training_rows_hold_their_labels(run):
    context = RunContext.open(run.folder)
    shortlists = read_array(run.path("train-specialists", "shortlists", "train.npy"))
    labels = context.dataset.train.labels.numpy()
    assert (shortlists == labels[:, None]).any(1).all()
    known = read_rows(run.path("train-generalist", "validation.log_probs.npy"))
    stored = read_array(run.path("train-specialists", "shortlists", "validation.npy"))
    np.testing.assert_array_equal(stored, shortlisting(context)(known.log_softmax(1)).numpy())


def test_the_ensemble_predicts_what_the_run_stored(run):
    context = RunContext.open(run.folder)
    stored = read_array(run.path("combine-predictions", "test.ensemble.npy"))
    x = context.split("test").inputs
    found = specialists.load(run.folder, model="ensemble").predictions(x).dense().numpy()
    np.testing.assert_allclose(found, stored, rtol=1e-3, atol=1e-4)


def test_a_teacher_asks_them_about_every_class_of_every_row(run):
    context = RunContext.open(run.folder)
    rule = teaching_rule(context)
    if rule.shared is not None:
        assert rule.shared.whole_up_to == 1.0
    targets = StoredPredictions(run.path("distill-student", "targets")).dense().float()
    ensemble = open_ensemble(context)
    known = ensemble.member_predictions(context.dataset.train.inputs)
    np.testing.assert_allclose(targets.exp(), known.joined(rule).dense().exp(), atol=2e-3)
    alone = online_teacher(context, "generalist")(context.dataset.train.inputs).dense()
    np.testing.assert_allclose(alone, known.generalist.dense(), atol=1e-5)


def test_a_shared_specialist_that_was_lost_is_made_again_with_the_same_bytes(run):
    weights = run.path("train-specialists", "shared-000", "weights.safetensors")
    before, choice = sha256(weights), run.path("combine-predictions", "choice.json")
    chosen = Choice.from_dict(read_json(choice)).chosen
    for path in weights.parent.iterdir():
        path.unlink()
    stages.run_stages(run)
    assert sha256(weights) == before
    assert Choice.from_dict(read_json(choice)).chosen == chosen


def test_another_network_is_another_training(run):
    context = RunContext.open(run.folder)
    (task, *_) = shared_tasks(context)
    settings = context.config.specialists.model_copy(update={"width": 3})
    config = context.config.model_copy(update={"specialists": settings})
    assert task.key(replace(context, config=config)) != task.key(context)


def test_a_change_of_kind_leaves_nothing_of_the_other_kind(run, tmp_path):
    is_both = RunContext.open(run.folder).config.specialists.kind == "both"
    of_shared = [f"specialists.{key}=" for key in ("shortlist", "shortlist_of", "n_shared")]
    settings = ["specialists.kind=clusters", *of_shared] if is_both else ["specialists.kind=both"]
    changed = small_run.changed_copy(run, tmp_path / "run", *settings)
    stages.run_stages(changed, until="train-specialists")
    folders = (path.name for path in changed.path("train-specialists").iterdir() if path.is_dir())
    kinds = {name.partition("-")[0] for name in folders} - {"independent"}
    assert kinds == {"specialist", "trunk", *(() if is_both else ("shared", "shortlists"))}


def test_shortlists_that_nobody_was_trained_for_are_refused(run):
    context = RunContext.open(run.folder)
    changes = {"shortlist": 4, "shortlist_of": "classes"}
    settings = context.config.specialists.model_copy(update=changes)
    config = context.config.model_copy(update={"specialists": settings})
    with pytest.raises(InputError, match=r"specialists.shortlist or combination.n in config.toml"):
        load_shared_specialists(replace(context, config=config))


def test_shortlists_may_come_from_generalists_that_have_not_seen_the_rows(tmp_path):
    by_others = ["clusters.predictions=cross-fitted", "specialists.shortlist_by=cross-fitted"]
    empty = small_run.make_run(tmp_path / "empty")
    run = small_run.changed_copy(empty, tmp_path / "run", *by_others, *KINDS["shared"])
    stages.run_stages(run, until="train-specialists")
    context = RunContext.open(run.folder)
    unseen = cross_fitted_generalists(run)[0].predictions
    expected = shortlisting(context).of_training_rows([unseen], context.dataset.train.labels)
    stored = read_array(run.path("train-specialists", "shortlists", "train.npy"))
    np.testing.assert_array_equal(stored, expected.numpy())
    known = Member(context, run.path("train-generalist")).predict(context.dataset.train.inputs)
    own = shortlisting(context).of_training_rows([known], context.dataset.train.labels)
    assert (stored != own.numpy()).any()
