"""The commands about teacher and student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from specialists.files import EVERYTHING, NOTHING, trusting

from .options import JsonOption, RunArgument, Split, TeachingOption, TrustOption
from .runs import Run
from .terminal import say

studying = typer.Typer()


@studying.command("examine-student", help="Show what a student learned from its teacher.")
def examine_command(
    run: RunArgument,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN-or-FOLDER-or-FILE",
            help="A run, the folder of a model, or the file of predictions that taught. "
            "Default: the run itself.",
        ),
    ] = None,
    model: TeachingOption = None,
    split: Annotated[Split, typer.Option(help="Whose rows are looked at.")] = "test",
    rows: Annotated[
        int,
        typer.Option(min=2, metavar="N", help="How many rows at most; of more, some are drawn."),
    ] = 4096,
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Print the table; the same values and a figure go into the run folder."""
    from .examine_student import FILES, Examined, examine_student
    from .teacher_source import teacher_sources

    opened = Run(run)
    _ = opened.config  # an error where this is no run folder
    (source,) = teacher_sources([teacher or run], model, trust_code)
    with trusting(EVERYTHING if trust_code else NOTHING):
        found = examine_student(opened, source, Examined(split, rows))
    if as_json:
        say(json.dumps(found.to_dict(), indent=1))
        return
    say(found.to_text())
    say(f"all values and the figure: {' and '.join(str(run / name) for name in FILES)}")
