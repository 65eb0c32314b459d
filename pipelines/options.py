"""Arguments and options of the commands that several share, or that take a choice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from specialists.config import shipped_configs
from specialists.runtime import most_at_once
from specialists.version import __version__

from .run_settings import named_folder
from .terminal import say

Split = Literal["test", "validation"]
Model = Literal[
    "student",
    "ensemble",
    "generalist",
    "generalist_continued",
    "generalist_wide",
    "generalist_ensemble",
    "generalist_ensemble_same_inference",
    "generalist_ensemble_deferred",
]


def out_option(metavar: str, text: str) -> Any:
    """--out: the folder of what a command makes."""
    return typer.Option("--out", metavar=metavar, parser=named_folder, help=text)


def model_option(text: str) -> Any:
    """--model: one of a run's models."""
    known = "student, ensemble, generalist, or a rival, such as generalist_wide"
    return typer.Option("--model", metavar="MODEL", help=f"{text}: {known}.")


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        say(f"specialists {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=show_version, help="Print the version and end."
    ),
]
ConfigArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        help="A TOML file, or the name of a shipped config (`specialists configs`).",
        autocompletion=lambda: list(shipped_configs()),
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        default_factory=list,
        show_default=False,
        help="Replace one setting (KEY= restores its default); may be repeated.",
    ),
]
SeedsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="How many seeds; they count up.")
]
TeacherOption = Annotated[
    list[Path],
    typer.Option(
        metavar="RUN-or-FOLDER-or-FILE",
        help="A run, the folder of a model, or a file of predictions (.npz, .npy or .parquet). "
        "Several, each with --teacher, are averaged.",
    ),
]
TeachingOption = Annotated[
    Model | None,
    model_option("Which of a run's models teaches, the ensemble unless another is named"),
]
WeightOption = Annotated[
    list[float],
    typer.Option(
        metavar="NUMBER", help="The weight of each teacher, in their order. Default: all the same."
    ),
]
MeanOption = Annotated[
    Literal["arithmetic", "geometric"] | None,
    typer.Option(help="How several teachers are averaged. Default: arithmetic."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print results, warnings and errors, nothing else."),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be made and what it would take: time, memory, disk. Write nothing.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Make it again from nothing.")]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run the functions (factories) that the folder names, wherever it comes from.",
    ),
]
GivenProbsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What a generalist given as its predictions says of INPUT: .npy, .npz or .parquet.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=most_at_once(),
        metavar="N",
        help="How many models are trained at a time; 0: one a core. No result depends on it.",
    ),
]
