"""The ``specialists`` command: run everything, or one stage; look at a run; predict.

What takes long to import is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from specialists.config import Config
from specialists.files import EVERYTHING, NOTHING, read_json
from specialists.runtime import threads, torch_environment

from . import stages, write_report
from .look_commands import looking
from .messages import Commands, format_warning
from .options import (
    ConfigArgument,
    DryRunOption,
    ForceOption,
    GivenProbsOption,
    JobsOption,
    JsonOption,
    MeanOption,
    Model,
    QuietOption,
    RunArgument,
    SeedsOption,
    SetOption,
    Split,
    TeacherOption,
    TeachingOption,
    TrustOption,
    VersionOption,
    WeightOption,
    model_option,
    out_option,
)
from .predict import check_target, predict, write_table
from .reproduce import reproducing
from .run_settings import check_replaced, configured, read_settings, source_and_folder
from .runs import RUN, Run, check_claimable
from .stage import Stage, run_stage
from .student_commands import studying
from .terminal import hush, log, say

app = typer.Typer(
    cls=Commands,
    help="Generalist, specialists, their exact combination, a distilled student; from one command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 100},
)


@app.callback()
def options_of_all(_: VersionOption = False) -> None:
    """Options before the command."""


@app.command("run", help="Run the whole pipeline. What is done already is skipped.")
def run_command(
    *,
    config: ConfigArgument = None,
    out: Annotated[
        Path | None,
        out_option(
            "RUN", "The run folder: new, empty, or a run's. Default: runs/CONFIG or runs/DATA."
        ),
    ] = None,
    overrides: SetOption,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="The last stage to run.")
    ] = None,
    force: Annotated[
        list[str],
        typer.Option(
            metavar="STAGE",
            default_factory=list,
            show_default=False,
            help="Make this stage again; may be repeated.",
        ),
    ],
    jobs: JobsOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Make every stage that is missing or stale, then show the result."""
    hush(quiet)
    stages.chosen(until, force)
    source, folder = source_and_folder(config, out, overrides)
    settings = read_settings(source, overrides, trust_code)
    if dry_run:
        check_claimable(folder, RUN)
        check_replaced(Run(folder), settings, force)
        from .forecast import dry_run as planned

        for line in planned(Run(folder, jobs), settings, until, force):
            say(line)
        return
    with configured(folder, settings, jobs, force) as run:
        stages.run_stages(run, until, force, lambda: tell_forecast(run, until, force))
        finished = until in (None, stages.STAGES[-1].name)
        if finished and settings.clean:
            from .clean import log_cleaning

            log_cleaning(run)
        log.info(write_report.disk_line(folder))
    if finished:
        say(f"\nThe report: {run.folder / 'report.html'}")
        for line in write_report.closing_lines(run):
            say(line)


@app.command("compare", help="Run several seeds of one config, and give a verdict.")
def compare_command(
    *,
    config: ConfigArgument = None,
    seeds: SeedsOption = 3,
    out: Annotated[
        Path | None,
        out_option(
            "FOLDER",
            "The folder of all runs: new, empty, or a comparison's. Default: runs/compare-CONFIG.",
        ),
    ] = None,
    overrides: SetOption,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Run what is missing, then say whether specialists are worth it."""
    from .compare import run_seeds, source_and_comparison

    hush(quiet or as_json)
    source, folder = source_and_comparison(config, out, overrides)
    first = read_settings(source, overrides, trust_code).seed
    Config.from_toml(source, [*overrides, f"seed={first + seeds - 1}"])
    told = run_seeds(source, overrides, folder, seeds, jobs)
    if as_json:
        say(json.dumps(read_json(folder / "comparison.json"), indent=1))
        return
    say(told)
    say(f"the table, the figure and all values: {folder}/comparison.md, .svg and .json")


@app.command("distill", help="Train a student on any model, or on a file.")
def distill_command(
    *,
    teacher: TeacherOption,
    model: TeachingOption = None,
    weight: WeightOption = [],  # noqa: B006
    mean: MeanOption = None,
    out: Annotated[
        Path | None,
        out_option(
            "RUN",
            "A folder: new, empty, or another student's. Default: runs/distill-NAME.",
        ),
    ] = None,
    overrides: SetOption,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Prepare the data, train what is missing, and say where the student lies."""
    from .distill import distill, distill_settings
    from .teacher_source import teacher_sources

    hush(quiet)
    taught_by = teacher_sources(teacher, model, trust_code, weight, mean)
    settings, folder = distill_settings(taught_by, out, overrides, trust_code)
    with configured(folder, settings, jobs) as run:
        say(f"the student: {distill(run, taught_by, mean or 'arithmetic')}")


def stage_command(
    ctx: typer.Context,
    run: RunArgument,
    force: ForceOption = False,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Make the stage that the command is called after."""
    hush(quiet)
    stage = stages.find_stage(str(ctx.info_name))
    with _opened(run, stage, jobs, trust_code) as opened:
        run_stage(opened, stage, force)


def evaluate_command(
    run: RunArgument,
    split: Annotated[
        Split, typer.Option(help="test: once, at the end; validation: while you develop.")
    ] = "test",
    force: ForceOption = False,
    jobs: JobsOption = None,
    quiet: QuietOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Make the stage that measures, or show figures on validation data."""
    hush(quiet and split == "test")  # of the other, the lines are the result
    stage = stages.find_stage("evaluate-models")
    with _opened(run, stage, jobs, trust_code) as opened:
        if split == "test":
            run_stage(opened, stage, force)
        else:
            from . import evaluate_models

            evaluate_models.execute(opened, split)


for _stage in stages.STAGES:
    _command = evaluate_command if _stage.name == "evaluate-models" else stage_command
    app.command(_stage.name, help=_stage.summary)(_command)


@app.command("predict", help="Predict the classes of new input, with probabilities.")
def predict_command(
    run: RunArgument,
    input_: Annotated[
        Path, typer.Argument(metavar="INPUT", help="In the same form as the training data.")
    ],
    model: Annotated[Model, model_option("Which of the run's models predicts")] = "student",
    top: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="How many classes to name, the most probable first."),
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A .tsv file, or .jsonl for --json. Default: standard output."
        ),
    ] = None,
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
    generalist_probs: GivenProbsOption = None,
) -> None:
    """Write a table with a line for each input and class, the most probable first."""
    if out is not None:
        check_target(out, input_, run)
    table = predict(run, input_, model, top, trust_code, generalist_probs, as_json)
    if out is not None:
        say(f"{write_table(out, table) - (not as_json)} lines in {out}")
        return
    for lines in table:
        say(lines, end="")


for _commands in (looking, studying, reproducing):
    app.registered_commands += _commands.registered_commands


def main() -> None:
    """Entry point of the console script.

    How PyTorch's threads wait is set before it is loaded; nothing above imports it.
    """
    os.environ.update(torch_environment())
    warnings.formatwarning = format_warning
    if isinstance(sys.stdout, io.TextIOWrapper):  # an encoding may lack what a name has
        sys.stdout.reconfigure(errors="backslashreplace")
    app(prog_name="specialists")


def tell_forecast(run: Run, until: str | None, force: list[str]) -> None:
    """Say what the stages that are left will take."""
    from .forecast import log_forecast

    log_forecast(run, until, force)


@contextmanager
def _opened(folder: Path, stage: Stage, jobs: int | None, trust_code: bool) -> Iterator[Run]:
    """A run that this process alone works on, with all stages before ``stage`` done."""
    run = Run(folder, jobs, EVERYTHING if trust_code else NOTHING)
    _ = run.config  # before the lock makes a folder of a mistyped name
    with run.lock(), run.trusting():
        stages.check_earlier(run, stage)
        if run.config.threads:
            threads(run.config.threads)
        yield run


if __name__ == "__main__":
    main()
