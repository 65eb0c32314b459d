"""What the tasks of a process share is read once, and never once it is stale."""

import os

import pytest
import small_run
import torch

from pipelines import classifiers, kept, stages, train_specialists
from pipelines.context import RunContext
from pipelines.train_specialists import specialist_tasks
from specialists.errors import TrainingError
from specialists.networks import load_network

WEIGHTS = "weights.safetensors"


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Files that were just written count as old ones."""
    monkeypatch.setattr(kept, "SETTLED_SECONDS", 0.0)
    with kept.letting_go():
        yield


@pytest.fixture
def file(tmp_path):
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "a"
    file.write_text("first")
    return file


def test_what_was_read_is_kept_until_a_file_changes(tmp_path, file):
    reads = []

    def read() -> str:
        return kept.kept("text", [tmp_path], lambda: reads.append(1) or file.read_text())

    assert [read(), read()] == ["first", "first"]
    assert len(reads) == 1
    file.write_text("other")
    os.utime(file, ns=(1, 1))
    assert read() == "other"
    (tmp_path / "inner" / "b").write_text("")
    read()
    (tmp_path / "inner" / "b").unlink()
    read()
    assert len(reads) == 4


def test_a_file_that_may_yet_change_is_read_again(tmp_path, file, monkeypatch):
    monkeypatch.setattr(kept, "SETTLED_SECONDS", 1e6)
    first = kept.kept("text", [file], object)
    assert kept.kept("text", [file], object) is not first


def test_one_of_a_kind_is_kept_and_nothing_for_good(tmp_path, file):
    other = tmp_path / "other"
    other.write_text("")
    with kept.letting_go():
        first = kept.kept("text", [file], object)
        assert kept.kept("more", [file], object) is not first
        assert kept.kept("text", [file], object) is first
        kept.kept("text", [other], object)
        assert kept.kept("text", [file], object) is not first
        assert len(kept._kept) == 2
    assert kept._kept == {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run with four clusters, up to them."""
    folder = tmp_path_factory.mktemp("many")
    run = small_run.changed_copy(
        small_run.make_run(folder / "run"), folder / "base",
        "clusters.n_clusters=4", "specialists.epochs=2", "specialists.freeze=['hidden1']",
    )  # fmt: skip
    stages.run_stages(run, "cluster-classes")
    return run


def weights_of(run) -> list[bytes]:
    folders = sorted(run.path("train-specialists").glob("specialist-*"))
    return [(folder / WEIGHTS).read_bytes() for folder in folders]


def test_a_specialist_is_the_same_whatever_the_process_trained_before(tmp_path, base):
    together, alone = (small_run.changed_copy(base, tmp_path / name) for name in ("all", "one"))
    stages.run_stages(together, "train-specialists")
    context = RunContext.open(alone.folder)
    train_specialists.prepare_trunk(context)
    for task in specialist_tasks(context)[::-1]:
        with kept.letting_go():
            classifiers.train_task(task)
    assert len(weights_of(alone)) == 4
    assert weights_of(alone) == weights_of(together)


def test_data_and_generalist_are_read_once_for_all_specialists(tmp_path, base, monkeypatch):
    run, opened, read = small_run.changed_copy(base, tmp_path / "run"), [], []
    opening = RunContext.open

    def watched(folder, *more):
        opened.append(folder)
        return opening(folder, *more)

    def loaded(folder):
        read.append(folder)
        return load_network(folder)

    monkeypatch.setattr(RunContext, "open", watched)
    monkeypatch.setattr(train_specialists, "load_network", loaded)
    train_specialists.execute(run)
    assert len(weights_of(run)) == 4
    assert len(opened) == 2  # by the stage, and by its tasks
    assert len(read) == 1
    assert kept._kept == {}


def test_training_leaves_what_is_kept_as_it_was(tmp_path, base):
    run = small_run.changed_copy(base, tmp_path / "run", "specialists.widen=2")
    context = RunContext.open(run.folder)
    train_specialists.prepare_trunk(context)
    tasks = specialist_tasks(context)
    classifiers.train_task(tasks[0])
    sources = tasks[0]._sources(context)
    assert sources.generalist is not None
    before = {key: value.clone() for key, value in sources.generalist.state_dict().items()}
    for task in tasks[1:]:
        classifiers.train_task(task)
        assert task._sources(context) is sources
    after = sources.generalist.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_specialist_that_fails_loses_no_other_one(tmp_path, base, monkeypatch):
    run, train = small_run.changed_copy(base, tmp_path / "run"), train_specialists.train_specialist

    def fails(network, subset, *rest, **more):
        if more["description"] == "specialist-001":
            raise TrainingError("the training loss is not finite")
        return train(network, subset, *rest, **more)

    monkeypatch.setattr(train_specialists, "train_specialist", fails)
    with pytest.raises(TrainingError, match="not finite"):
        train_specialists.execute(run)
    assert len(weights_of_finished(run)) == 3
    monkeypatch.setattr(train_specialists, "train_specialist", train)
    train_specialists.execute(run)
    assert len(weights_of_finished(run)) == 4


def weights_of_finished(run) -> list[str]:
    return [p.parent.name for p in run.path("train-specialists").glob("specialist-*/manifest.json")]


def test_weights_that_change_between_two_tasks_are_read_anew(tmp_path, base):
    run = small_run.changed_copy(base, tmp_path / "run")
    context = RunContext.open(run.folder)
    train_specialists.prepare_trunk(context)
    task = specialist_tasks(context)[0]
    first = task._sources(context)
    assert task._sources(context) is first
    file = run.path("train-generalist", WEIGHTS)
    (tmp_path / "copy").write_bytes(file.read_bytes())
    os.replace(tmp_path / "copy", file)
    assert task._sources(context) is not first
