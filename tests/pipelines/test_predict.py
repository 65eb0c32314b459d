"""What `predict` prints is a table, whatever classes and inputs are called."""

import os
from types import SimpleNamespace

import hostile_names
import pytest

import specialists
from pipelines.predict import check_target, predict
from specialists import datasets
from specialists.errors import InputError
from specialists.escaping import cell


def test_a_table_has_a_line_for_each_answer_whatever_the_names_are(tmp_path, monkeypatch):
    names = hostile_names.NAMES
    answers = [[(name, 0.25)] for name in names]
    predictor = SimpleNamespace(
        preprocessing={}, predict_encoded=lambda inputs: inputs, top=lambda probs, k: answers
    )
    monkeypatch.setattr(specialists, "load", lambda *arguments: predictor)
    monkeypatch.setattr(datasets, "read_unlabelled", lambda file, preprocessing: (names, names))
    table = predict(tmp_path, tmp_path, "student", 1)
    assert hostile_names.acting(table) == set()
    rows = [line.split("\t") for line in table.removesuffix("\n").split("\n")]
    shown = [cell(name) for name in names]
    assert rows[1:] == [[str(i), name, "1", name, "0.250000"] for i, name in enumerate(shown)]
    assert "-1" in shown
    assert '\'=HYPERLINK("http://x")' in shown


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_target_that_is_no_ordinary_file_is_refused(tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(InputError, match="file"):
        check_target(tmp_path / "out")
