"""Which experiments there are, in the order of the page, and where each is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .paper_tables import PaperTable
    from .reproduction import Reproduction

Experiment = Literal[
    "mnist",
    "temperatures",
    "transfer",
    "regulariser",
    "ensemble",
    "specialists",
    "logits",
    "page",
]
MODULES = {
    "mnist": "paper_mnist",
    "temperatures": "temperature_curves",
    "transfer": "unseen_classes",
    "regulariser": "little_data",
    "ensemble": "ten_models",
    "specialists": "paper_specialists",
    "logits": "logit_limit",
}


def experiment_of(name: str) -> Callable[[Reproduction], PaperTable]:
    """The function of an experiment, imported when it is asked for."""
    package = __package__ or ""
    return getattr(import_module(f"{package}.{MODULES[name]}"), f"reproduce_{name}")
