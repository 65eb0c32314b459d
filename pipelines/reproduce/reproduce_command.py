"""``specialists reproduce``: the paper's experiments, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from specialists.config import Config
from specialists.errors import InputError
from specialists.files.reading import read_text_file

from ..options import ConfigArgument, JobsOption, QuietOption, SeedsOption, SetOption, out_option
from ..run_settings import SOURCES
from ..runs import QUICK_REPRODUCTION, REPRODUCTION, kind_of, locked
from ..terminal import hush, log, say
from .experiments import Experiment, experiment_of

if TYPE_CHECKING:
    from .reproduction import Reproduction

OF_DIGITS = ("mnist", "temperatures", "transfer", "logits")
VALIDATION = "data.validation_fraction=0.0834"  # 5,000 of MNIST's 60,000 training digits
MNIST_FILE = "data.arrays=PATH/mnist.npz, with x_train, y_train, x_test and y_test"
reproducing = typer.Typer()


@reproducing.command(
    "reproduce",
    help="Print our figures beside the paper's. The paper: Hinton, Vinyals and Dean (2015).",
)
def reproduce_command(
    *,
    experiment: Annotated[
        Experiment,
        typer.Argument(
            help="Which of the paper's experiments; page: the page of all that is done."
        ),
    ],
    config: ConfigArgument = None,
    overrides: SetOption,
    seeds: SeedsOption = 3,
    out: Annotated[
        Path | None,
        out_option(
            "FOLDER", "The folder of all experiments. Default: runs/reproduce, or reproduce-quick."
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Names of labels in example subsets: a label, a tab and its name a line.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the page is written. Default: FOLDER/paper.md."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Train next to nothing, to see that it runs.")
    ] = False,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train what does not stand, print the table, make the page."""
    from .paper_page import check_done, check_page, write_page

    hush(quiet)
    folder = out or Path("runs", "reproduce-quick" if quick else "reproduce")
    check_page(page)
    if experiment == "page":
        check_done(folder)
        made_quickly = kind_of(folder) == QUICK_REPRODUCTION
        with locked(folder, QUICK_REPRODUCTION if made_quickly else REPRODUCTION):
            say(f"the page: {write_page(folder, page)}")
        return
    settings = reproduction_settings(config, overrides)
    work = begin(folder, settings, seeds, jobs, quick, read_names(names))
    if experiment in OF_DIGITS:
        work.data.check_digits()
    with locked(folder, QUICK_REPRODUCTION if quick else REPRODUCTION):
        table = experiment_of(experiment)(work)
        table.write(folder)
        say(f"{table.title}\n\n{table.table()}\n")
        for paragraph in table.text:
            say(f"{paragraph}\n")
        say(f"the table: {folder / table.name}.md and .json; the page: {write_page(folder, page)}")


def reproduction_settings(config: str | None, overrides: list[str]) -> Config:
    """The configuration of the data; one message where none are named."""
    named = {override.partition("=")[0].strip() for override in overrides}
    if config is None and not named & set(SOURCES):
        raise InputError(
            "no data are named, and nothing is downloaded",
            where="specialists reproduce",
            expected=f"--set {MNIST_FILE}; or a config and its data",
            fix="specialists reproduce mnist --set data.arrays=PATH/mnist.npz",
        )
    ours = ["data.admission_fraction=0"]
    if config is None and "data.validation_fraction" not in named:
        ours.append(VALIDATION)
    return Config.from_toml(config, [*ours, *overrides])


def begin(
    folder: Path,
    settings: Config,
    n_seeds: int,
    jobs: int | None,
    quick: bool = False,
    names: Mapping[str, str] | None = None,
) -> Reproduction:
    """An experiment with its data read."""
    from specialists.runtime import n_cores

    from .cpu_plan import PaperPlan, quick_plan
    from .paper_data import named_data
    from .reproduction import Reproduction

    data = named_data(settings)
    for note in data.dataset.notes:
        log.info(note)
    seeds = tuple(range(settings.seed, settings.seed + n_seeds))
    n_jobs = (settings.jobs if jobs is None else jobs) or n_cores()
    plan = quick_plan() if quick else PaperPlan()
    return Reproduction(folder, data, plan, seeds, n_jobs, dict(names or {}))


def read_names(file: Path | None) -> dict[str, str]:
    """Names by label, from a file of two columns; {} without one."""
    if file is None:
        return {}
    try:
        lines = read_text_file(file).splitlines()
        pairs = [line.split("\t")[:2] for line in lines if "\t" in line]
        if not pairs:
            raise ValueError("no line has a tab")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        expected = "a text file in UTF-8 with a label, a tab and its name on each line"
        what = "no names can be read"
        raise InputError(what, where="--names", got=f"{file}: {why}", expected=expected) from None
    return {label.strip(): name.strip() for label, name in pairs}
