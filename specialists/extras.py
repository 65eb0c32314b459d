"""Libraries that few need: imported where they are used, and named with their extra if absent."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from specialists.errors import InputError


def imported(module: str, extra: str, what: str) -> ModuleType:
    """The module of an optional library; an InputError that names its extra where there is none.

    ``what`` needs it, in words.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{what} needs {module.partition('.')[0]}, which is not installed",
            got=error,
            fix=f"pip install 'specialist-distillation[{extra}]'",
        ) from error
