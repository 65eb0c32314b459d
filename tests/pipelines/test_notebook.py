"""The notebooks: what the one on class clusters reads, that its clusters are a run's, copies."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_run
import torch
from PIL import Image

from pipelines import stages
from pipelines.known_predictions import read_predictions
from pipelines.shipped_notebooks import FOLDER, copy_notebook, shipped_notebooks
from specialists.clustering import ClassClusters
from specialists.clustering.pair_table import PairTable
from specialists.config import DataConfig
from specialists.covariance import PredictionCovariance
from specialists.datasets import load_dataset, save_dataset
from specialists.errors import InputError
from specialists.figures import Picture
from specialists.files import read_array, read_json, write_array, write_json

N_CLASSES = 12
NAMES = small_run.NAMES


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose generalist is trained."""
    run = small_run.make_run(tmp_path_factory.mktemp("notebook") / "run")
    stages.run_stages(run, "train-generalist")
    return run


@pytest.fixture
def probs() -> np.ndarray:
    random = np.random.default_rng(0)
    group = np.arange(N_CLASSES) // 3
    true = random.integers(0, N_CLASSES, 240)
    scores = random.normal(size=(240, N_CLASSES)) + 4.0 * (group[true][:, None] == group)
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def execute(**parameters: object) -> tuple[dict, list]:
    """Names defined by the notebook's code, its parameters replaced, and what its cells show."""
    file = FOLDER / "class_clusters.ipynb"
    names: dict = {"__name__": "notebook"}
    shown, replaced = [], 0
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        for name, value in parameters.items():
            source, n = re.subn(
                f"(?m)^{name} = None.*$", lambda _, v=value: f"{_[0].split()[0]} = {v!r}", source
            )
            replaced += n
        tree = ast.parse(source)
        last = tree.body[-1]
        tree.body[-1:] = [] if isinstance(last, ast.Expr) else [last]
        exec(compile(tree, str(file), "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(ast.unparse(last.value), names))
    assert replaced == len(parameters)
    for value in shown:
        assert value is None or len(value._repr_html_()) > 100
    return names, shown


def test_clusters_of_the_notebook_are_exactly_those_of_a_run(trained, tmp_path, capsys):
    saved = tmp_path / "clusters.json"
    names, shown = execute(
        PREDICTIONS=str(trained.folder),
        SAVE_AS=str(saved),
        N_CLUSTERS=3,
        KNOWN_GROUPS=list("aaabbbcccddd"),
    )
    known = names["known"]
    assert known.class_names == NAMES
    assert known.labels.tolist() == trained_labels(trained)
    assert names["comparison"].groups == ("a", "b", "c", "d")
    assert sum(isinstance(value, Picture) for value in shown) == 6
    drawn = [type(value) for value in shown if value is not None]
    assert drawn[:2] == [PairTable, Picture]  # what it leads with
    assert f"--set clusters.file={saved}" in capsys.readouterr().out
    run = small_run.changed_copy(
        trained, tmp_path / "own", f"clusters.file={saved}", "clusters.n_clusters="
    )
    stages.run_stages(run, "cluster-classes")
    made = ClassClusters.from_dict(read_json(run.path("cluster-classes", "clusters.json")))
    assert made.classes == names["chosen"].classes
    assert made.n_clusters == 3


def trained_labels(run) -> list[int]:
    return read_array(run.path("prepare-data", "validation.labels.npy")).tolist()


def test_predictions_of_a_run_are_calibrated(trained):
    known = read_predictions(trained.folder)
    stored = read_array(trained.path("train-generalist", "validation.log_probs.npy")).astype(float)
    scores = stored / read_json(trained.path("train-generalist", "calibration.json"))["temperature"]
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert known.probs is not None
    np.testing.assert_allclose(known.probs, expected, rtol=1e-6)


@pytest.mark.parametrize("in_place", [False, True])
def test_pictures_of_a_run_are_shown_wherever_they_lie(tmp_path, in_place):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 8, 8), dtype=np.uint8)
    for label, i in np.ndindex(2, 12):
        (tmp_path / "pictures" / f"c{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[label, i]).save(tmp_path / "pictures" / f"c{label}" / f"{i}.png")
    settings = {"images": str(tmp_path / "pictures"), "image_size": 8, "min_examples": 4}
    data = load_dataset(DataConfig(**settings, in_place=in_place), 0)
    save_dataset(data, tmp_path / "run" / "prepare-data")
    n = len(data.validation)
    write_array(tmp_path / "run/train-generalist/validation.log_probs.npy", np.full((n, 2), -1.0))
    write_json(tmp_path / "run/train-generalist/calibration.json", {"temperature": 1.0})
    known = read_predictions(tmp_path / "run")
    assert known.examples is not None
    assert len(known.examples) == n
    shown = np.stack([known.examples[row] for row in range(n)])
    assert np.array_equal(shown, np.asarray(data.validation.inputs[torch.arange(n)]))


def test_a_run_without_a_generalist_is_refused(tmp_path):
    with pytest.raises(InputError, match="no trained generalist"):
        read_predictions(small_run.make_run(tmp_path / "run").folder)


def test_co_predictions_alone_are_enough(tmp_path, probs, capsys):
    np.save(tmp_path / "co.npy", probs.T @ probs / len(probs))
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    names, shown = execute(
        PREDICTIONS=str(tmp_path / "co.npy"), CLASS_NAMES=str(tmp_path / "names.txt")
    )
    assert names["clusters"].class_names == NAMES
    expected = ClassClusters.from_predictions(probs, NAMES).pairs
    np.testing.assert_allclose([p[2] for p in names["clusters"].pairs], [p[2] for p in expected])
    assert sum(isinstance(value, Picture) for value in shown) == 5
    printed = capsys.readouterr().out
    assert "There are no rows to halve." in printed
    assert "KNOWN_GROUPS is None" in printed


def test_a_file_of_probabilities_needs_no_names(tmp_path, probs):
    np.save(tmp_path / "probs.npy", probs.astype(np.float32))
    known = read_predictions(tmp_path / "probs.npy")
    assert known.class_names == tuple(map(str, range(N_CLASSES)))
    assert known.in_words().startswith("240 predictions of 12 classes; mean top probability 0.")
    assert "noisy" not in known.in_words()


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, pd.DataFrame])
def test_predictions_in_memory_are_taken_as_they_are(probs, form):
    known = read_predictions(form(probs))
    assert known.probs is not None
    assert np.array_equal(known.probs, probs)
    assert known.class_names == tuple(map(str, range(N_CLASSES)))


def test_columns_of_a_table_in_memory_name_the_classes(probs):
    known = read_predictions(pd.DataFrame(probs, columns=list(NAMES)))
    assert known.class_names == NAMES
    with pytest.raises(InputError, match="must be a matrix"):
        read_predictions([0.5, 0.5])


def test_names_labels_and_examples_of_a_file_are_taken(tmp_path, probs):
    labels, texts = probs.argmax(1), np.array([f"row {i}" for i in range(240)])
    path = tmp_path / "predictions.npz"
    np.savez(path, probs=probs, class_names=NAMES, labels=labels, examples=texts)
    known = read_predictions(path)
    assert known.class_names == NAMES
    assert known.labels is not None
    assert known.examples is not None
    assert (known.labels.tolist(), list(known.examples)) == (labels.tolist(), texts.tolist())
    renamed = tuple(f"x{i}" for i in range(12))
    assert read_predictions(path, renamed).class_names == renamed


def test_as_many_rows_as_classes_are_rows(tmp_path, probs):
    np.save(tmp_path / "few.npy", probs[:N_CLASSES])
    known = read_predictions(tmp_path / "few.npy")
    assert known.probs is not None
    assert "noisy" in known.in_words()


def test_very_many_classes_take_a_sketch(tmp_path, probs, monkeypatch):
    monkeypatch.setattr("specialists.clustering.co_predictions.MAX_WHOLE_MATRIX", 10)
    np.save(tmp_path / "probs.npy", probs)
    names, _ = execute(PREDICTIONS=str(tmp_path / "probs.npy"))
    assert not names["is_whole"]
    assert "agglomerative" not in names["methods"]


def test_halves_hold_other_rows(tmp_path, probs):
    np.save(tmp_path / "probs.npy", probs)
    known = read_predictions(tmp_path / "probs.npy")
    (found_on, checked_on), (swapped, others) = known.halves(), known.halves(swapped=True)
    assert len(checked_on) == len(others) == 120
    np.testing.assert_allclose(
        found_on.covariance(), PredictionCovariance(12).update(others).covariance()
    )
    np.testing.assert_allclose(
        swapped.covariance(), PredictionCovariance(12).update(checked_on).covariance()
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npz", None, "no predictions here"),
        ("a.txt", "x", "no predictions here"),
        ("a.npz", "x", "cannot be read"),
        ("a.npz", {"other": np.ones((2, 2))}, "no array probs"),
        ("a.npz", {"probs": np.ones(3)}, "must be a matrix"),
        ("a.npz", {"probs": np.ones((3, 2)) / 2, "class_names": ["a"]}, "class names"),
    ],
)
def test_what_holds_no_predictions_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(InputError, match=message):
        read_predictions(path)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_shipped_notebook_is_small_and_holds_no_outputs(file):
    content = file.read_text(encoding="utf-8")
    assert len(content) < 50_000
    cells = json.loads(content)["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert file.stem != "first_ensemble" or len(cells) == 10


def test_a_copy_never_replaces_what_lies_there_unless_told(tmp_path):
    target = copy_notebook("class_clusters", tmp_path)
    assert target == tmp_path / "class_clusters.ipynb"
    assert target.read_bytes() == (FOLDER / target.name).read_bytes()
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="--force"):
        copy_notebook("class_clusters", tmp_path)
    assert target.read_text(encoding="utf-8") == "mine"
    copy_notebook("class_clusters", target, force=True)
    assert target.stat().st_size > 1000
    assert copy_notebook("class_clusters", tmp_path / "a.ipynb").is_file()


@pytest.mark.parametrize(
    ("name", "dest"),
    [("clusters", ""), ("class_clusters", "no folder"), ("class_clusters", "new/a.ipynb")],
)
def test_a_name_or_place_that_there_is_not_is_refused(name, dest, tmp_path):
    with pytest.raises(InputError):
        copy_notebook(name, tmp_path / dest)
    assert list(tmp_path.iterdir()) == []


def test_the_command_lists_and_copies(tmp_path, monkeypatch, capsys):
    from pipelines.__main__ import app

    app(["notebook"], standalone_mode=False)
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == list(shipped_notebooks())
    assert "Which classes does a model confuse?" in listed
    monkeypatch.chdir(tmp_path)
    app(["notebook", "first_ensemble"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("first_ensemble.ipynb")
    assert Path("first_ensemble.ipynb").is_file()
