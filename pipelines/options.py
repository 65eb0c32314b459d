"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from specialists.runtime import most_at_once


class Split(StrEnum):
    """What `evaluate-models` measures on."""

    test = "test"
    validation = "validation"


class Model(StrEnum):
    """What `predict` predicts with."""

    student = "student"
    ensemble = "ensemble"
    generalist = "generalist"


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one setting (KEY= takes it back); may be repeated.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Make it again from nothing.")]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run the functions that the folder names (factories), wherever it comes from.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder")]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=most_at_once(),
        help="Models trained at a time; 0: one a core. No result depends on it.",
    ),
]
