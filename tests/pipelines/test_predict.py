"""What `predict` prints is a table, whatever classes and inputs are called."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hostile_names
import pytest

from pipelines import trained_models
from pipelines.predict import PredictedRow, check_target, predict, write_table
from pipelines.write_report import ADVICE
from specialists import datasets
from specialists.errors import InputError
from specialists.escaping import cell
from specialists.files import write_json

NEEDLESS = ("scipy", "sklearn", "pandas", "matplotlib", "pyarrow", "sympy", "torch._dynamo")
PREDICT = """
import sys
from specialists.__main__ import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def test_a_table_has_a_line_for_each_answer_whatever_the_names_are(tmp_path, monkeypatch):
    names = hostile_names.NAMES
    answers = [[(name, 0.25)] for name in names]
    predictor = SimpleNamespace(
        class_names=names,
        preprocessing={},
        beside=lambda inputs, log_probs: inputs,
        blocks=lambda inputs: [(slice(0, 3), inputs[:3]), (slice(3, len(inputs)), inputs[3:])],
        top=lambda names, k: [answer for answer in answers if answer[0][0] in names],
    )
    monkeypatch.setattr(trained_models, "load", lambda *arguments: predictor)
    monkeypatch.setattr(datasets, "read_unlabelled", lambda file, made, in_place: (names, names))
    table = "".join(predict(tmp_path, tmp_path, "student", 1))
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
        check_target(tmp_path / "out", tmp_path / "in.txt", tmp_path / "run")


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path):
    target = tmp_path / "a" / "b" / "c.tsv"
    with pytest.raises(InputError, match=r"no such folder(?s:.*)mkdir -p .*/a/b"):
        check_target(target, tmp_path / "in.txt", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    target.parent.mkdir(parents=True)
    check_target(target, tmp_path / "in.txt", tmp_path / "run")


def test_a_folder_that_takes_no_file_is_told_before_any_work():
    with pytest.raises(InputError, match=r"no file can be written(?s:.*)where: /proc/x.tsv\n"):
        check_target(Path("/proc/x.tsv"), Path("in.txt"), Path("run"))


@pytest.mark.parametrize("content", [b"my notes", b"\xff\xd8\xff\xe0 a photo", b"row,input\n"])
def test_what_predict_did_not_write_is_not_replaced(tmp_path, content):
    target = tmp_path / "x.tsv"
    target.write_bytes(content)
    with pytest.raises(InputError, match="replace a file that is no such table"):
        check_target(target, tmp_path / "in.txt", tmp_path / "run")
    assert target.read_bytes() == content


@pytest.mark.parametrize("as_json", [False, True])
def test_an_earlier_table_or_an_empty_file_may_be_replaced(tmp_path, monkeypatch, as_json):
    rows = [PredictedRow(0, "x", [("a", 1.0)])]
    model = SimpleNamespace(asks=False, class_names="abcdef")
    monkeypatch.setattr(trained_models, "load", lambda *args: model)
    monkeypatch.setattr("pipelines.predict._predicted", lambda *args: iter([rows]))
    target = tmp_path / "x.tsv"
    target.touch()
    for _ in range(2):
        check_target(target, tmp_path / "in.txt", tmp_path / "run")
        lines = predict(tmp_path, tmp_path / "in.txt", "student", 1, as_json=as_json)
        assert write_table(target, lines) == 2 - as_json


def test_who_answers_is_told_beside_the_table(tmp_path, monkeypatch, capsys):
    model = SimpleNamespace(asks=False, class_names="abc")
    monkeypatch.setattr(trained_models, "load", lambda *args: model)
    monkeypatch.setattr("pipelines.predict._predicted", lambda *args: iter([]))

    def told(model: str, top: int = 3) -> str:
        list(predict(tmp_path, tmp_path / "in.txt", model, top))
        printed = capsys.readouterr()
        assert printed.out == ""
        return printed.err

    assert told("student") == "answered by the student\n"
    write_json(tmp_path / ADVICE, {"model": "ensemble"})
    advised = "answered by the student; --model ensemble is what the report advises\n"
    assert told("student") == advised
    assert told("ensemble") == "answered by the ensemble\n"
    assert (
        told("student", 99)
        == f"{advised}there are no more than 3 classes: --top 99 names them all\n"
    )
    (tmp_path / "model.json").touch()
    assert told("student") == f"answered by the model in {tmp_path}\n"


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("grinning face", "write the texts into a file"),
        ("x" * 300, "write the texts into a file"),
        ("wordz.txt", "did you mean"),
    ],
)
def test_texts_in_place_of_a_file_are_told_where_they_belong(tmp_path, monkeypatch, given, advice):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").touch()
    made = {"kind": "text", "char_ngrams": [1, 2], "word_ngrams": [0, 0], "lowercase": True}
    with pytest.raises(InputError, match=f"no such file(?s:.*){advice}"):
        datasets.read_unlabelled(given, made)


def test_a_table_that_breaks_off_leaves_the_old_one(tmp_path):
    def lines():
        yield "a header\n"
        raise InputError("a row is wrong")

    target = tmp_path / "x.tsv"
    assert write_table(target, ["a header\n", "a row\nanother\n"]) == 3
    with pytest.raises(InputError, match="a row is wrong"):
        write_table(target, lines())
    assert target.read_text() == "a header\na row\nanother\n"
    assert [file.name for file in tmp_path.iterdir()] == ["x.tsv"]


def test_a_student_predicts_without_what_takes_long_to_import(readme_run):
    told = subprocess.run(
        [sys.executable, "-c", PREDICT, "predict", "runs/emoji", "words.txt"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=readme_run,
        capture_output=True,
        text=True,
    )
    assert len(told.stdout.splitlines()) == 11
    loaded = told.stderr.split()
    assert "torch" in loaded
    assert [name for name in NEEDLESS if name in loaded] == []
