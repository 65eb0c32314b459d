"""A run's student learns by the terms that its configuration names."""

import shutil

import pytest
import small_run

from pipelines import stages
from pipelines.context import RunContext
from pipelines.distill_student import spec_of_size, student_tasks
from specialists.config import Config
from specialists.files import read_json

pytestmark = pytest.mark.xdist_group("small_run")

TERMS = """student.terms=[
  {kind = "soft_targets", temperature = 2.0, weight = 0.5},
  {kind = "decoupled", beta = 2.0, weight = 0.2},
  {kind = "labels", smoothing = 0.1, weight = 0.3},
  {kind = "hint", layer = "hidden1", weight = 0.1},
  {kind = "angles", layer = "relu1", n_rows = 8},
  {kind = "similarity"},
]"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Whose student has learned by terms of each family."""
    folder = tmp_path_factory.mktemp("terms")
    empty = small_run.make_run(folder / "empty")
    own = "student.temperatures=", "student.alphas=", "combination.admission=off"
    run = small_run.changed_copy(empty, folder / "run", TERMS, *own, "student.epochs=8")
    stages.run_stages(run, until="distill-student")
    return run


def test_a_student_of_a_run_learns_by_terms_of_every_family(run):
    trials = read_json(run.path("distill-student", "trials.json"))
    soft, hard = trials
    assert [trial["model"] for trial in trials] == ["student", "student_hard_labels"]
    assert [term["kind"] for term in soft["terms"]][3:] == ["hint", "angles", "similarity"]
    assert (soft["temperature"], soft["alpha"]) == (None, None)
    assert "terms" not in hard
    assert soft["validation_top1"] > 2 / small_run.N_CLASSES
    flops = [
        read_json(run.path("distill-student", name, "result.json"))["training_flops"]
        for name in ("student", "student_hard_labels")
    ]
    assert flops[0] > flops[1]  # the generalist was asked as well


def test_other_terms_and_another_generalist_make_another_trial(run):
    context = RunContext.open(run.folder)
    task = student_tasks(context, spec_of_size(context))[0]
    assert task.network == context.path("train-generalist")
    assert "network" in str(task.key(context)["inputs"])
    assert "decoupled" in str(task.key(context))


def test_terms_are_written_and_read_back_as_they_are(run):
    again = Config.from_toml(run.config_file)
    assert again.student.terms == run.config.student.terms
    assert again.student.terms[0] == {"kind": "soft_targets", "temperature": 2.0, "weight": 0.5}


def test_a_store_is_made_for_the_temperature_of_the_terms(tmp_path):
    empty = small_run.make_run(tmp_path / "empty")
    terms = 'student.terms=[{kind = "soft_targets", temperature = 3.0}, {kind = "labels"}]'
    own = "student.temperatures=", "student.alphas=", "combination.admission=off"
    run = small_run.changed_copy(empty, tmp_path / "run", terms, *own, "student.targets=top")
    stages.run_stages(run, until="distill-student")
    files = {file.name for file in run.path("distill-student", "targets").iterdir()}
    assert {"cells-3.npy", "classes.npy"} <= files
    assert not {"cells-1.npy", "cells-2.npy"} & files


@pytest.mark.parametrize(
    ("scheme", "settings", "targets"),
    [
        ("born_again", ["student.n_taught=2"], True),
        ("mutual", ["student.n_taught=2"], False),
        ("exits", ["student.exits=['hidden1']"], False),
    ],
)
def test_a_scheme_says_who_teaches_the_student_of_a_run(run, tmp_path, scheme, settings, targets):
    own = "student.terms=", "student.temperatures=[2.0]", "student.alphas=[0.5]"
    again = small_run.changed_copy(
        run, tmp_path / "run", *own, f"student.scheme={scheme}", *settings, "student.epochs=4"
    )
    folder = again.path("distill-student")
    shutil.rmtree(folder / "targets")
    stages.run_stages(again, until="distill-student")
    soft, hard = read_json(folder / "trials.json")
    assert soft["scheme"] == scheme
    assert "scheme" not in hard
    assert soft["validation_top1"] > 1.5 / small_run.N_CLASSES
    assert (folder / "targets" / "manifest.json").is_file() == targets
    parameters = [
        read_json(folder / name / "result.json")["parameters"]
        for name in ("student", "student_hard_labels")
    ]
    assert parameters[0] == parameters[1]  # neither peers nor exits are kept
    assert (folder / "trials" / "soft-0" / "generation-0").is_dir() == (scheme == "born_again")
