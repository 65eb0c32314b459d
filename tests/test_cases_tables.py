"""Small tables after public reports: nothing dropped, nothing mistaken, nothing in silence."""

import random
import unicodedata

import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from specialists.config import DataConfig
from specialists.datasets import Dataset, load_dataset

TINY = ("threads=1", "generalist.epochs=3", "generalist.width=16", "generalist.n_buckets=1024")


def write(path, rows, header="text,label", **settings):
    path.write_text("".join(f"{row}\n" for row in (header, *rows)), **settings)


def load(path, **settings) -> Dataset:
    return load_dataset(DataConfig(table=str(path), admission_fraction=0, **settings), seed=0)


def command(*arguments: object):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a table whose labels are written in several ways."""
    folder = tmp_path_factory.mktemp("trained")
    labels: dict[str, tuple[str, ...]] = {
        "k": ("two words", "two  words"),
        "m": ("boot ", " boot"),
        "t": ("7", "7 "),
    }
    labels["p"] = tuple(unicodedata.normalize(form, "crème") for form in ("NFC", "NFD"))
    generator = random.Random(0)
    rows = []
    for letter, ways in labels.items():
        for i in range(30):
            words = generator.choices([letter + end for end in ["ab", "bc", "cd", "de", "ef"]], k=4)
            rows.append(f"{' '.join(words)} {i},{ways[i % 2]}")
    write(folder / "train.csv", rows, encoding="utf-8")
    options = [part for value in TINY for part in ("--set", value)]
    command("run", "--set", f"data.table={folder / 'train.csv'}", "--out", folder / "run",
            *options, "--until", "train-generalist")  # fmt: skip
    return folder / "run"


def test_blank_cells_keep_their_rows_in_the_predictions(trained, tmp_path):
    """Case 01, pandas-dev/pandas#12443: a one-column CSV comes back shorter."""
    write(tmp_path / "new.csv", ["kab kbc kcd", "", "tab tbc tcd", "   ", "pab pbc pcd"], "text")
    told = command("predict", trained, tmp_path / "new.csv", "--model", "generalist", "--top", 1)
    rows = [line.split("\t") for line in told.splitlines()[1:]]
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [rows[i][3] for i in (0, 2, 4)] == ["two words", "7", "crème"]


def test_predictions_name_each_class_once_and_as_training_did(trained, tmp_path):
    """Case 20, apple/turicreate#1531: 'Stilettos ' and 'Stilettos' are two labels."""
    write(tmp_path / "new.csv", ["kab"], "text")
    told = command("predict", trained, tmp_path / "new.csv", "--model", "generalist")
    names = [line.split("\t")[3] for line in told.splitlines()[1:]]
    assert sorted(names) == ["7", "boot", "crème", "two words"]


@pytest.mark.parametrize("table", [True, False])
def test_rare_classes_that_training_never_saw_are_left_out(tmp_path, table):
    """Case 15, lightgbm-org/LightGBM#4626: a long tail of which some lies only in the test."""
    rows = [
        f"{letter * 3} {i},C{letter},{'train' if i < 30 else 'test'}"
        for letter in "abcdef"
        for i in range(40)
    ]
    rows += [f"rare {k},R{k:03d},{'train' if k % 2 else 'test'}" for k in range(300)]
    write(tmp_path / "t.csv", rows, "text,label,split")
    dataset = load(tmp_path / "t.csv", split="split" if table else None)
    assert dataset.n_classes == 6
    told = "300 classes with fewer than 20 rows left out (300 rows): R000, R001, R002 and 297 more"
    assert told in dataset.notes


def test_no_test_row_is_trained_on_where_a_column_is_called_split(tmp_path):
    """Case 21, ludwig-ai/ludwig#2248: given splits mixed and split anew."""
    part = ["train"] * 28 + ["validation"] * 4 + ["test"] * 8
    rows = [f"{letter * 3} {i},C{letter},{part[i]}" for letter in "abcdef" for i in range(40)]
    write(tmp_path / "t.csv", rows, "text,label,split")
    given = {row.split(",")[0]: row.split(",")[2] for row in rows}
    for name, split in load(tmp_path / "t.csv").splits.items():
        assert split.texts is not None
        assert {given[text] for text in split.texts} == {name}


def test_labels_like_numbers_or_missing_values_stay_what_they_are(tmp_path):
    """Case 32, wireservice/csvkit#806: NA is Namibia; BOM, CRLF, quoted line breaks, an index."""
    labels = ["NA", "null", "nan", "None", "007", "7", "1e5", "1.0", "True", "-1"]
    rows = [
        f'{i},"{chr(97 + k) * 3}\r\nline {i}",{label}\r'
        for k, label in enumerate(labels)
        for i in range(24)
    ]
    write(tmp_path / "t.csv", rows, ",text,label\r", encoding="utf-8-sig", newline="")
    assert sorted(load(tmp_path / "t.csv").class_names) == sorted(labels)
