"""The notebook of class clusters also reads a run folder and a file of probabilities."""

import json
import re
from pathlib import Path

import IPython.display
import numpy as np
import pytest

from specialists.files import write_array, write_json

NOTEBOOK = Path(__file__).parents[2] / "pipelines" / "notebooks" / "class_clusters.ipynb"
N_CLASSES = 12
NAMES = [f"{'abc'[j // 4]}{j}" for j in range(N_CLASSES)]


@pytest.fixture
def log_probs() -> np.ndarray:
    random = np.random.default_rng(0)
    group = np.arange(N_CLASSES) // 4
    true = random.integers(0, N_CLASSES, 240)
    scores = random.normal(size=(240, N_CLASSES)) + 4.0 * (group[true][:, None] == group)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@pytest.fixture
def pictures(monkeypatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(IPython.display, "display", lambda html: shown.append(html.data))
    return shown


def execute(**parameters: object) -> dict:
    """Names defined by the notebook's code, its parameters replaced."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    for name, value in parameters.items():
        source, n_found = re.subn(f"(?m)^{name} = None.*$", f"{name} = {value}", source)
        assert n_found == 1
    names: dict = {}
    exec(compile(source, str(NOTEBOOK), "exec"), names)
    return names


def test_a_run_folder_is_read_calibrated_and_compared_with_known_groups(
    tmp_path, log_probs, pictures, capsys
):
    for folder in ("train-generalist", "prepare-data"):
        (tmp_path / folder).mkdir()
    write_array(tmp_path / "train-generalist" / "validation.log_probs.npy", log_probs)
    write_json(tmp_path / "train-generalist" / "calibration.json", {"temperature": 2.0})
    write_json(tmp_path / "prepare-data" / "dataset.json", {"class_names": NAMES})
    saved = tmp_path / "clusters.json"
    found = execute(
        PREDICTIONS=repr(str(tmp_path)),
        KNOWN_GROUPS="lambda name: name[0]",
        N_CLUSTERS=3,
        SAVE_AS=repr(str(saved)),
    )
    tempered = np.exp(log_probs / 2)
    expected = tempered / tempered.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["probs"], expected, rtol=1e-6)
    assert found["comparison"].groups == ("a", "b", "c")
    assert found["clusters"].n_clusters == 3
    assert len(pictures) == 5
    assert json.loads(saved.read_text(encoding="utf-8"))["class_names"] == NAMES
    assert "--set clusters.method=balanced --set clusters.n_clusters=3" in capsys.readouterr().out


def test_a_file_of_probabilities_needs_no_names(tmp_path, log_probs, pictures, capsys):
    path = tmp_path / "predictions.npz"
    np.savez(path, probs=np.exp(log_probs).astype(np.float32))
    found = execute(PREDICTIONS=repr(str(path)))
    assert found["class_names"] is None
    assert found["chosen"].class_names == tuple(map(str, range(N_CLASSES)))
    assert len(pictures) == 4
    assert "KNOWN_GROUPS is None" in capsys.readouterr().out


def test_names_and_very_many_classes_are_read_from_a_file(
    tmp_path, log_probs, pictures, monkeypatch
):
    monkeypatch.setattr("specialists.clustering.co_predictions.MAX_WHOLE_MATRIX", 10)
    path = tmp_path / "predictions.npz"
    np.savez(path, probs=np.exp(log_probs), class_names=NAMES)
    found = execute(PREDICTIONS=repr(str(path)))
    assert found["clusters"].class_names == tuple(NAMES)
    assert not found["whole"]
    assert pictures


def test_the_committed_notebook_is_small():
    content = NOTEBOOK.read_text(encoding="utf-8")
    assert len(content) < 50_000
    assert not any(cell.get("outputs") for cell in json.loads(content)["cells"])
