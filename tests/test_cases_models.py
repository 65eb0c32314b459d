"""Public reports about trained models, losses and predictions, as small cases that went wrong."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import specialists
from pipelines import stages
from pipelines.messages import told_in_one_message
from pipelines.runs import Run
from specialists.clustering import ClassClusters
from specialists.config import Config
from specialists.errors import DataWarning, InputError
from specialists.files import Trust, read_json, write_text
from specialists.losses import DistillationLoss

N_CLASSES = 12
COMMON = {"threads": 1, "jobs": 1, "device": "cpu", "precision": "float32"}


class Grid(nn.Module):
    """A linear network over a grid of 4 x 4 mean pixels."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(16, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = F.adaptive_avg_pool2d(x.float().mean(1, keepdim=True), 4)
        return self.head(pooled.flatten(1))


def grid(n_classes: int) -> nn.Module:
    """For ``generalist.factory``."""
    return Grid(n_classes)


class Flipped(Grid):
    """Its outputs are not in the order of its head's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).flip(-1)


def flipped(n_classes: int) -> nn.Module:
    """For ``generalist.factory``."""
    return Flipped(n_classes)


def linear(n_classes: int, n_features: int = 6) -> nn.Module:
    """For ``generalist.factory``."""
    return nn.Sequential(nn.Linear(n_features, n_classes))


def until_generalist(folder, capsys, **sections) -> tuple[float, str]:
    """Validation top-1 of a run's generalist, and what was said."""
    config = Config.from_dict({**COMMON, **sections})
    write_text(folder / "config.toml", config.to_toml())
    stages.run_stages(Run(folder, trust=Trust.from_config(config)), "train-generalist")
    result = read_json(folder / "train-generalist" / "result.json")
    return result["top1"], capsys.readouterr().out


def write_pictures(folder, names) -> None:
    """24 pictures a class; the k-th class has the k-th cell of a 4 x 4 grid in white."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(names):
        (folder / "pics" / name).mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(0, 60, (16, 16)).astype(np.uint8)
            row, column = divmod(k, 4)
            pixels[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = 255
            Image.fromarray(pixels).save(folder / "pics" / name / f"{i}.png")


def write_grid_network(file, **entries) -> None:
    """A network whose output k answers to the k-th cell."""
    weight = torch.zeros(N_CLASSES, 16)
    weight[range(N_CLASSES), range(N_CLASSES)] = 0.05
    state = {"head.weight": weight, "head.bias": torch.zeros(N_CLASSES)}
    torch.save({"state_dict": state, **entries} if entries else state, file)


def picture_run(folder, capsys, **generalist) -> tuple[float, str]:
    write_grid = {"factory": "test_cases_models:grid", "weights": str(folder / "own.pt")}
    return until_generalist(
        folder / "run",
        capsys,
        data={"images": str(folder / "pics"), "image_size": 16},
        generalist={**write_grid, **generalist},
    )


def test_case_08_outputs_of_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path, capsys):
    write_pictures(tmp_path, map(str, range(N_CLASSES)))
    write_grid_network(tmp_path / "own.pt")
    top1, said = picture_run(tmp_path, capsys)
    assert top1 == 1
    assert "the classes are numbers" in said


ANIMALS = ("fox", "ant", "owl", "bee", "cat", "yak", "dog", "emu", "gnu", "hen", "jay", "kea")


@pytest.mark.parametrize("how", ["setting", "checkpoint", "beside"])
def test_outputs_are_matched_with_the_classes_by_name(how, tmp_path, capsys):
    write_pictures(tmp_path, ANIMALS)
    write_grid_network(tmp_path / "own.pt", **({"classes": ANIMALS} if how == "checkpoint" else {}))
    if how == "beside":
        (tmp_path / "classes.txt").write_text("\n".join(ANIMALS))
    top1, said = picture_run(tmp_path, capsys, **({"classes": ANIMALS} if how == "setting" else {}))
    assert top1 == 1
    assert "matched with the classes by name" in said


def test_a_network_in_another_order_is_near_chance_which_is_told(tmp_path, capsys):
    write_pictures(tmp_path, ANIMALS)
    write_grid_network(tmp_path / "own.pt")
    with pytest.warns(DataWarning, match=r"near chance .* in another order"):
        top1, said = picture_run(tmp_path, capsys)
    assert top1 < 0.2
    assert "sorted) order of classes: 'ant', 'bee'" in said
    assert "validation and test rows that it was trained on make it look better" in said


def test_outputs_that_are_not_the_heads_are_not_put_in_order_by_their_names(tmp_path, capsys):
    write_pictures(tmp_path, ANIMALS)
    write_grid_network(tmp_path / "own.pt", classes=ANIMALS[::-1])
    with pytest.raises(InputError, match="does not end in its head"):
        picture_run(tmp_path, capsys, factory="test_cases_models:flipped")


def test_names_that_come_later_make_the_generalist_stale(tmp_path, capsys):
    write_pictures(tmp_path, ANIMALS)
    write_grid_network(tmp_path / "own.pt")
    with pytest.warns(DataWarning, match="near chance"):
        picture_run(tmp_path, capsys)
    (tmp_path / "classes.json").write_text(json.dumps(ANIMALS))
    assert picture_run(tmp_path, capsys)[0] == 1


@pytest.mark.parametrize("standardize", [None, False, True])
def test_case_24_a_network_sees_features_as_it_was_trained_on_them(standardize, tmp_path, capsys):
    rng, y = np.random.default_rng(0), np.repeat(np.arange(6), 60)
    x = rng.normal(size=(360, 6))
    x[np.arange(360), y] += 5
    scale, shift = np.array([1, 1, 1, 1, 1, 100.0]), np.array([0, 0, 0, 0, 0, 300.0])
    np.savez(tmp_path / "a.npz", x=x * scale + shift, y=y)
    weight = np.diag(5 / scale)
    state = {"0.weight": torch.tensor(weight), "0.bias": torch.tensor(-weight @ shift)}
    torch.save(state, tmp_path / "own.pt")
    top1, said = until_generalist(
        tmp_path / "run",
        capsys,
        data={"arrays": str(tmp_path / "a.npz"), "standardize": standardize},
        generalist={
            "factory": "test_cases_models:linear",
            "weights": str(tmp_path / "own.pt"),
        },
    )
    assert (top1 > 0.95) == (standardize is not True)
    assert ("features are not standardised, since" in said) == (standardize is None)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 broken"])
def test_damaged_weights_are_one_message_and_exit_code_2(content, tmp_path, capsys):
    write_pictures(tmp_path, ANIMALS)
    (tmp_path / "own.pt").write_bytes(content)
    with pytest.raises(SystemExit) as ended, told_in_one_message():
        picture_run(tmp_path, capsys)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: this file of weights cannot be read as plain tensors")
    assert "Traceback" not in told


@pytest.mark.parametrize("scale", [5, 20, 200])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_case_09_half_precision_gives_the_loss_of_float32(scale, dtype):
    torch.manual_seed(0)
    student, labels = torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    teacher = torch.randn(4, 6) * scale
    loss = DistillationLoss(1.0, 0.5)
    expected = float(loss(student, teacher, labels))
    assert float(loss(student.to(dtype), teacher.to(dtype), labels)) == pytest.approx(
        expected, rel=0.05
    )


@pytest.mark.parametrize("shape", [(8, 1), (1, 5), (5,)])
def test_case_11_a_teacher_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match="teacher"):
        DistillationLoss(2.0, 1.0)(torch.randn(8, 5), torch.randn(shape))


def test_case_17_a_table_gives_a_row_for_each_of_its_rows(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [
        f"{' '.join(kind + word for word in rng.choice(['ab', 'bc', 'cd'], 4))} {i},{kind}"
        for kind in "kmp"
        for i in range(30)
    ]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]))
    small = {"epochs": 1, "width": 8, "n_buckets": 256, "embedding_dim": 4}
    data = {"table": str(tmp_path / "train.csv")}
    until_generalist(tmp_path / "run", capsys, data=data, generalist=small)
    model = specialists.load(tmp_path / "run", "generalist")
    table = pd.DataFrame({"id": range(5), "text": ["kab"] * 5})
    found = model.predict_proba(table)
    np.testing.assert_array_equal(found, model.predict_proba(["kab"] * 5))
    with pytest.raises(InputError, match="dict"):
        model.predict_proba({"text": ["kab"] * 5})


PROBS = np.random.default_rng(0).dirichlet(np.ones(12) / 4, size=300)
WITHOUT_A_CLASS = np.delete(PROBS, 5, 1) / np.delete(PROBS, 5, 1).sum(1, keepdims=True)
TAKEN = {
    "probabilities": PROBS,
    "a class that no row predicts": np.insert(WITHOUT_A_CLASS, 5, 0, axis=1),
    "half precision": PROBS.astype(np.float16),
    "a table": pd.DataFrame(PROBS),
}
MISTAKEN = {
    "logarithms": np.log(PROBS),
    "per cent": PROBS * 100,
    "other axes": PROBS.T,
    "no rows": PROBS[:0],
    "one row": PROBS[:1],
    "labels": PROBS.argmax(1),
    "NaN": np.where(PROBS > 0.9, np.nan, PROBS),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_case_34_predictions_are_clustered_in_any_form(kind):
    assert sum(ClassClusters.from_predictions(TAKEN[kind], n_clusters=3).sizes) == 12


def test_case_34_votes_are_clustered_and_told():
    votes = np.eye(12, dtype=int)[PROBS.argmax(1)]
    with pytest.warns(DataWarning, match="all predictions are 0 or 1"):
        assert sum(ClassClusters.from_predictions(votes, n_clusters=3).sizes) == 12


@pytest.mark.parametrize("kind", MISTAKEN)
def test_case_34_what_are_no_predictions_is_refused(kind):
    with pytest.raises(InputError):
        ClassClusters.from_predictions(MISTAKEN[kind], n_clusters=3)
