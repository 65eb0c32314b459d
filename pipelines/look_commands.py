"""The commands that train and predict nothing: look at a run, list what there is, tidy up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from specialists.config import SECTIONS, list_settings, shipped_configs

from . import write_report
from .options import JsonOption, RunArgument
from .runs import Run
from .shipped_notebooks import copy_notebook, shipped_notebooks
from .status_table import show_status, status_values
from .terminal import say

OWN_DATA = """
your own     --set data.table=x.tsv     TSV, CSV, JSON lines or Parquet, plain or .gz
             --set data.arrays=x.npz    features or images, and labels
             --set data.images=folder/  one folder of image files a class
             --set data.factory=package.module:function"""
looking = typer.Typer()


@looking.command(
    "status", help="Show how far a run has come. A stage is done, stale (and why) or missing."
)
def status_command(run: RunArgument, as_json: JsonOption = False) -> None:
    """Print a table with one row a stage."""
    opened = Run(run)
    _ = opened.config  # an error where this is no run folder
    if as_json:
        say(json.dumps(status_values(opened), indent=1))
        return
    show_status(opened)
    say(write_report.disk_line(run))


@looking.command("clean", help="Remove what a finished run needs no longer. It predicts as before.")
def clean_command(run: RunArgument) -> None:
    """Say what that saved."""
    from .clean import clean_run

    opened = Run(run)
    _ = opened.config
    with opened.lock():
        say(clean_run(opened))


@looking.command("settings", help="List every setting: default, unit and meaning.")
def settings_command(
    section: Annotated[
        str | None,
        typer.Argument(
            metavar="SECTION",
            help="One section, for instance clusters. run: the settings of no section.",
            autocompletion=lambda: ["run", *SECTIONS],
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print key, default, unit and meaning of each."""
    listed = list_settings(section)
    if as_json:
        say(json.dumps([setting.to_dict() for setting in listed], indent=1))
        return
    for setting in listed:
        for line in setting.lines():
            say(line)


@looking.command("configs", help="List the configurations that ship.")
def configs_command() -> None:
    """Print name, first line and file of each."""
    for name, file in shipped_configs().items():
        first = file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        say(f"{name:<12} {first}\n{'':<12} {file}")


@looking.command("notebook", help="Copy a notebook to work in. Without a name, list what there is.")
def notebook_command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="One of the notebooks.",
            autocompletion=lambda: list(shipped_notebooks()),
        ),
    ] = None,
    dest: Annotated[
        Path | None,
        typer.Argument(metavar="DEST", help="A folder, or a new .ipynb file. Default: here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what lies there.")] = False,
) -> None:
    """Print name and title of each, or where the copy lies."""
    if name is None:
        for known, title in shipped_notebooks().items():
            say(f"{known:<16} {title}")
        return
    say(f"{copy_notebook(name, dest, force)}: open it in Jupyter, for instance `jupyter lab`")


@looking.command("datasets", help="List the data sets that ship, and forms of your own.")
def datasets_command() -> None:
    """Print name and description of each, and how to bring one's own."""
    from specialists.datasets import available

    for name, description in available().items():
        say(f"{name:<12} {description}")
    say(OWN_DATA)
