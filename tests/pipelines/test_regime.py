"""Part of a data set keeps its classes; points of an axis change one thing; gains are paired."""

import json

import numpy as np
import pytest
import torch
from small_run import N_CLASSES, make_run

from pipelines.benchmarks import regime, subsampled
from pipelines.benchmarks.regime_axes import (
    Base,
    augmentation_points,
    classes_points,
    examples_points,
    width_points,
)
from specialists.config import Config
from specialists.datasets import load_dataset
from specialists.datasets.assembly import draw_share
from specialists.datasets.base import Dataset, Ragged, Split
from specialists.errors import DataError, InputError
from specialists.files import read_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regime")
    make_run(folder / "source")
    return folder


@pytest.fixture
def data(folder):
    return Config.from_toml(folder / "source/config.toml").data


def counts(split):
    return torch.bincount(split.labels).tolist()


def same_rows(a, b):
    return torch.equal(a, b)


def test_a_share_of_every_class_is_drawn_from_the_training_rows_alone(data):
    whole = load_dataset(data, 3)
    half, same, other = (
        load_dataset(subsampled.drawn_from(data, share=0.5), seed) for seed in (3, 3, 4)
    )
    assert counts(half.train) == [20] * N_CLASSES
    for name in ("validation", "test"):
        assert same_rows(half.splits[name].inputs, whole.splits[name].inputs)
    assert same_rows(half.train.inputs, same.train.inputs)
    assert not same_rows(half.train.inputs, other.train.inputs)


def drawn(labels, share):
    return draw_share(labels, share, np.random.default_rng(7))


def test_a_smaller_draw_is_part_of_a_larger_one_and_leaves_each_class_a_row():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(6), (1, 2, 3, 8, 8, 16)))
    few, more = (set(drawn(labels, share)) for share in (1 / 8, 1 / 2))
    assert few < more
    assert np.bincount(labels[sorted(few)]).tolist() == [1, 1, 1, 1, 1, 2]
    assert set(drawn(labels, 1.0)) == set(range(len(labels)))
    assert set(subsampled.draw_classes(50, 10, 1)) < set(subsampled.draw_classes(50, 20, 1))


def test_classes_keep_all_their_rows_and_are_numbered_anew(data):
    whole, part = load_dataset(data, 3), load_dataset(subsampled.drawn_from(data, n_classes=5), 3)
    assert part.n_classes == 5
    assert set(part.class_names) < set(whole.class_names)
    kept = torch.tensor([whole.class_names.index(name) for name in part.class_names])
    for name, split in whole.splits.items():
        inside = torch.isin(split.labels, kept)
        own = part.splits[name]
        assert same_rows(own.inputs, split.inputs[inside])
        assert torch.equal(kept[own.labels], split.labels[inside])


def test_valid_labels_that_are_left_out_are_no_longer_valid():
    sets = Ragged(torch.tensor([0, 2, 1, 2, 3]), torch.tensor([0, 2, 3, 5]))
    split = Split(torch.zeros(3, 1), torch.tensor([0, 1, 3]), sets)
    dataset = Dataset("made", "features", tuple("abcd"), split, split, split, {})
    part = subsampled.with_classes(dataset, np.array([0, 3]))
    assert part.class_names == ("a", "d")
    assert part.test.labels.tolist() == [0, 1]
    assert part.test.valid is not None
    assert [part.test.valid.row(i).tolist() for i in range(2)] == [[0], [1]]


@pytest.mark.parametrize("options", [{"share": 0.0}, {"n_classes": 13}])
def test_what_cannot_be_drawn_is_told(data, options):
    with pytest.raises(DataError, match="cannot be drawn"):
        load_dataset(subsampled.drawn_from(data, **options), 3)


def test_each_point_changes_one_thing_and_survives_its_file(data, tmp_path):
    usual = data.model_copy(update={"augment": None})
    values = {"data": usual.model_dump(), "clusters": {"n_clusters": 40}}
    config = Config.from_dict(values)
    base = Base(config, "images", 2320)
    few, *_, whole = examples_points(base)
    assert (few.label, whole.change) == ("1/8", None)
    small, middle, everything = classes_points(base)
    assert [small.label, middle.label, everything.change] == ["128", "512", None]
    assert small.change is not None
    assert small.change(config).clusters.n_clusters == 2
    assert [point.label for point in width_points(base)] == ["6", "12", "24", "48", "96"]
    assert [point.label for point in width_points(base, ["1/2", "10"])] == ["24", "10"]
    named = Base(Config.from_dict({**values, "generalist": {"width": 10}}), "images", 2320)
    assert [point.change is None for point in width_points(named, ["10", "20"])] == [True, False]
    assert [point.label for point in classes_points(base, ["1/2", "3"])] == ["1160", "3"]
    off, on = augmentation_points(base)
    assert on.change is None  # images are augmented as it is
    assert off.change is not None
    assert off.change(config).data.augment is False
    for point in (few, small, width_points(base)[0], off):
        assert point.change is not None
        changed = point.change(config)
        (tmp_path / "config.toml").write_text(changed.to_toml(), encoding="utf-8")
        assert Config.from_toml(tmp_path / "config.toml") == changed != config


def test_a_point_that_makes_no_sense_is_told(data):
    with pytest.raises(InputError, match="not a positive number"):
        examples_points(Base(Config(data=data), "features", 12), ["half"])
    with pytest.raises(InputError, match="not a whole number"):
        width_points(Base(Config(data=data), "features", 12), ["2.5"])
    with pytest.raises(InputError, match="on or off"):
        augmentation_points(Base(Config(data=data), "features", 12), ["maybe"])
    with pytest.raises(InputError, match="not a share of the training rows"):
        examples_points(Base(Config(data=data), "features", 12), ["1/4", "2"])
    for few in (["1"], ["13"]):
        with pytest.raises(InputError, match="not a number of classes"):
            classes_points(Base(Config(data=data), "features", 12), few)


def test_a_point_that_is_named_twice_is_one(data):
    base = Base(Config(data=data), "features", 12)
    for points, wanted in (
        (examples_points, ["1/2", "0.5", "2/4"]),
        (classes_points, ["6", "1/2"]),
        (width_points, ["8", "8"]),
        (augmentation_points, ["on", "on"]),
    ):
        assert len(points(base, wanted)) == 1


def run(folder, axis, *points):
    source = str(folder / "source/config.toml")
    return regime.regime(folder / "all", source, [], axis, 1, points)


def test_gains_stand_beside_their_rivals_and_runs_are_shared(folder):
    lines = [line for line in run(folder, "examples", "1/2", "1").splitlines() if line[0:1] == "|"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:3] for row in rows[2:]] == [["1/2", "12", "20.0"], ["1", "12", "40.0"]]
    half, whole = json.loads((folder / "all/regime-examples.json").read_text())
    assert set(half["models"]) == {"ensemble", *regime.REFERENCES}
    for rival in regime.REFERENCES:
        gain = half["gains"][f"{rival}, right"]
        tops = [half["models"][name]["top1"][0] for name in ("ensemble", rival)]
        assert gain["value"] == pytest.approx(tops[0] - tops[1])
        assert f"{100 * gain['value']:+.2f} [" in rows[2][rows[0].index(f"- `{rival}`")]
    assert "<svg" in (folder / "all/regime-examples.svg").read_text()
    stamp = (folder / "all/base/seed-5/train-generalist/manifest.json").stat().st_mtime_ns
    run(folder, "width", "6")
    narrow = folder / "all/width-6/seed-5"
    assert read_json(narrow / "train-generalist/model.json")["network"]["width"] == 6
    shared, own = (
        place / "prepare-data/train.inputs.npy" for place in (folder / "all/base/seed-5", narrow)
    )
    assert shared.stat().st_ino == own.stat().st_ino
    again = (folder / "all/base/seed-5/train-generalist/manifest.json").stat().st_mtime_ns
    assert again == stamp
    assert whole["x"] == 40.0
