"""One runner for the benchmarks that train grids: points (settings) x seeds x models.

Every point has a run for each seed. A run that stands is read, one that was interrupted goes on,
and runs that share data or a generalist share the files. A benchmark then measures the models of
each run (:mod:`pipelines.benchmarks.measured`) and says which columns its table has; table and JSON
lie in the folder of the study.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from specialists.config import Config
from specialists.files import claim, recording, write_json, write_text
from specialists.files.ownership import MANIFEST, STARTED

from ..run_settings import write_config
from ..runs import COMPARISON, RUN, Run, check_claimable, claimed, result_files
from ..stages import run_stages
from ..terminal import log

LAST_STAGE = "combine-predictions"
T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One point of a study with one seed, whose run lies in ``folder``.

    The finished stages ``shared`` of ``start``, a run's first ones in their order, are its own too.
    """

    point: str
    folder: Path
    config: Config
    start: Cell | None = None
    shared: tuple[str, ...] = ()


def configs_by_seed(config: str, overrides: Sequence[str], n_seeds: int) -> list[Config]:
    """A configuration with its own seed and with those that follow."""
    first = Config.from_toml(config, overrides)
    seeds = range(first.seed + 1, first.seed + n_seeds)
    return [first, *(Config.from_toml(config, [*overrides, f"seed={seed}"]) for seed in seeds)]


def run_study(
    folder: Path, cells: Iterable[Cell], measure: Callable[[Run], T]
) -> dict[str, list[T]]:
    """What ``measure`` gives for the runs of each point, by point; each run is made and locked.

    An InputError comes before any work if a run's folder is somebody else's.
    """
    cells = list(cells)
    for cell in cells:
        check_claimable(cell.folder, RUN)
    results: dict[str, list[T]] = {}
    with claimed(folder, COMPARISON):
        for cell in cells:
            log.info(f"study: {cell.point}, seed {cell.config.seed} in {cell.folder}")
            if cell.start is not None:
                with run_until(cell.start.folder, cell.start.config, cell.shared[-1]):
                    for stage in cell.shared:
                        share_stage(cell.start.folder, cell.folder, stage)
            with run_until(cell.folder, cell.config) as run:
                results.setdefault(cell.point, []).append(measure(run))
    return results


def write_results(
    folder: Path, name: str, text: str, record: object, figure: str | None = None
) -> str:
    """Write FOLDER/NAME.{json,md} and, with a figure, NAME.svg; returns the text with its end."""
    text += "\n"
    with claimed(folder, COMPARISON):
        write_json(folder / f"{name}.json", record)
        if figure is not None:
            write_text(folder / f"{name}.svg", figure)
        write_text(folder / f"{name}.md", text)
    return text


@contextmanager
def run_until(folder: Path, config: Config, stage: str = LAST_STAGE) -> Iterator[Run]:
    """The locked run of a configuration, whose stages are made where they do not stand."""
    run = Run(folder)
    with run.lock():
        write_config(run, config)
        run_stages(run, until=stage)
        yield run


def share_stage(source: Path, folder: Path, stage: str) -> None:
    """Hard links to a finished stage of another run, unless the run has one of its own."""
    target = folder / stage
    if any((target / name).is_file() for name in (MANIFEST, STARTED)):
        return
    with Run(folder).lock(), recording(target):
        for name in result_files(source / stage):
            claim(target / name)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # of a process that was killed here
                os.link(source / stage / name, target / name)


def command_line(
    name: str,
    options: Mapping[str, dict[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Arguments of a study over several seeds; ``options`` are those that it alone has."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.benchmarks.{name}")
    parser.add_argument("folder", type=Path)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--seeds", type=positive, default=3)
    for option, keywords in (options or {}).items():
        parser.add_argument(option, **keywords)
    return vars(parser.parse_intermixed_args(arguments))


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)
