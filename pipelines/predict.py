"""A file of new, unlabelled input -> a table of its most probable classes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from specialists.errors import InputError
from specialists.escaping import cell
from specialists.files import atomic_write
from specialists.files.ownership import json_object

from .runs import belongs_to_result, check_folder_of
from .terminal import remark
from .write_report import ADVICE

if TYPE_CHECKING:
    from specialists.predictor import Predictor

RUN_FILES = ("config.toml", "model.json", "weights.safetensors", "result.json", "metrics.jsonl")
HEADER = ("row", "input", "rank", "class", "probability")
STARTS = ("\t".join(HEADER), '{"row": ')  # of a table, and of JSON lines


class PredictedRow(NamedTuple):
    """A row of the input, how it is shown, and its classes, the most probable first."""

    row: int
    shown: str
    classes: list[tuple[str, float]]


def predict(
    run: Path,
    file: Path,
    model: str,
    top: int,
    trust_code: bool = False,
    generalist_probs: Path | None = None,
    as_json: bool = False,
) -> Iterator[str]:
    """Tab-separated lines: a header, then one for each input and each of its ``top`` classes.

    They come in blocks, as they are predicted, so that memory does not grow with the rows times the
    classes. :func:`specialists.escaping.cell` shows names and inputs. Who answers is told on
    standard error.

    Parameters
    ----------
    run : Path
        A run folder, or the folder of a student or generalist.
    file : Path
        Input in the same form as the training data.
    model : {"student", "ensemble", "generalist"}, or a baseline's name
    top : int
        Classes named for each input, at most.
    trust_code : bool
        See :func:`specialists.load`.
    generalist_probs : Path, optional
        What a generalist predicts for the input of which only predictions are known.
    as_json : bool
        JSON lines instead: an object for each input, its classes in a list.

    Raises
    ------
    InputError
        If there is no such model, the input is not as the training data were, or the
        generalist's probabilities are needed or not used.
    """
    from .trained_models import load

    predictor = load(run, model, trust_code)
    if generalist_probs is not None and not predictor.asks:
        raise InputError(
            "this model asks no generalist that was given as its predictions",
            where=f"--generalist-probs {generalist_probs}",
            got=f"--model {model}",
            fix="leave the option out",
        )
    blocks = _predicted(predictor, file, top, generalist_probs)
    remark(_who_answers(run, model))
    if top > (n := len(predictor.class_names)):
        remark(f"there are no more than {n} classes: --top {top} names them all")
    if as_json:
        yield from map(_as_json, blocks)
        return
    yield _lines([HEADER])
    for rows in blocks:
        yield _lines(
            (row, name, rank, class_name, f"{probability:.6f}")
            for row, name, classes in rows
            for rank, (class_name, probability) in enumerate(classes, start=1)
        )


def _who_answers(run: Path, model: str) -> str:
    """The model, and the one that the run's report advises if that is another."""
    if (run / "model.json").is_file():
        return f"answered by the model in {run}"
    advised = json_object(run / ADVICE).get("model", model)
    instead = f"; --model {advised} is what the report advises" * (advised != model)
    return f"answered by the {model}{instead}"


def _as_json(rows: Iterable[PredictedRow]) -> str:
    return "".join(json.dumps(_record(*row)) + "\n" for row in rows)


def _record(row: int, shown: str, classes: Iterable[tuple[str, float]]) -> dict[str, object]:
    found = [{"class": name, "probability": round(float(p), 6)} for name, p in classes]
    return {"row": row, "input": shown, "classes": found}


def _predicted(
    predictor: Predictor, file: Path, top: int, generalist_probs: Path | None
) -> Iterator[list[PredictedRow]]:
    """Blocks of rows; the input is read at once."""
    from specialists.datasets import read_unlabelled

    plain, shown = read_unlabelled(file, predictor.preprocessing, in_place=True)
    log_probs = None
    if generalist_probs is not None:
        from specialists.networks import predictions_of_new

        log_probs = predictions_of_new(generalist_probs, predictor.class_names, len(plain))
    inputs = predictor.beside(plain, log_probs)

    def blocks() -> Iterator[list[PredictedRow]]:
        for rows, probs in predictor.blocks(inputs):
            ranked = zip(shown[rows], predictor.top(probs, top), strict=True)
            yield [PredictedRow(row, *pair) for row, pair in enumerate(ranked, start=rows.start)]

    return blocks()


def write_table(file: Path, blocks: Iterable[str]) -> int:
    """Write the blocks of lines to ``file``, whole or not at all; the number of lines."""
    blocks, n_lines = iter(blocks), 0
    first = next(blocks)  # model and input are read before the file is opened
    with atomic_write(file) as temporary, temporary.open("w", encoding="utf-8") as out:
        for block in itertools.chain([first], blocks):
            out.write(block)
            n_lines += block.count("\n")
    return n_lines


def check_target(file: Path, source: Path, run: Path, starts: tuple[str, ...] = STARTS) -> None:
    """Check, before long work, that a table can be written to ``file``.

    Parameters
    ----------
    file : Path
    source : Path
        The input, or the folder of the images.
    run : Path
        A run folder, or that of a model.
    starts : tuple of str
        How a table begins that may be replaced.

    Raises
    ------
    InputError
        If it is a folder or a device, its folder is not there, or it would replace the input, a
        part of a run, or anything else that does not begin as such a table does.
    """
    other = "name another file, for instance x.tsv"
    if file.is_dir():
        raise InputError("this is a folder, not a file", where=file, fix=other)
    if file.exists() and not file.is_file():  # it would be replaced, not written to
        raise InputError(
            "this is no ordinary file", where=file, fix="leave --out out, and redirect the output"
        )
    check_folder_of(file)
    place, model = file.resolve(), run.resolve()
    image = source.resolve() in place.parents and file.suffix != ".tsv"
    if file.exists() and source.exists() and (image or file.samefile(source)):
        raise InputError("the table would replace the input", where=f"--out {file}", fix=other)
    if belongs_to_result(place) or (place.parent == model and place.name in RUN_FILES):
        raise InputError(
            "the table would replace a file of a run", where=f"--out {file}", fix=other
        )
    if file.exists() and not _begins(file, starts):
        raise InputError(
            "the table would replace a file that is no such table",
            where=f"--out {file}",
            fix=f"remove it, or {other}",
        )


def _begins(file: Path, starts: Iterable[str]) -> bool:
    """Whether a file is empty or begins with one of these texts."""
    with file.open("rb") as opened:
        head = opened.read(100)
    return not head or head.startswith(tuple(start.encode() for start in starts))


def _lines(rows: Iterable[tuple[object, ...]]) -> str:
    return "".join("\t".join(map(cell, row)) + "\n" for row in rows)
