"""Which files lie in a folder and below it, where links lead elsewhere or back?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path


def walk(
    folder: Path,
    enter: Callable[[Path], bool] = lambda folder: True,
    above: frozenset[Path] = frozenset(),
) -> Iterator[Path]:
    """Every file in a folder and below, in the order of names; links to folders are followed.

    Parameters
    ----------
    folder : Path
    enter : callable
        Whether to look into a folder.
    above : frozenset of Path
        Resolved folders that are not entered again, beside ``folder`` and those above it.

    Yields
    ------
    Path
        Files, and the folders that were not entered: those that ``enter`` refuses, and links that
        lead back to a folder above.
    """
    real = folder.resolve()
    above = above | {real, *real.parents}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and enter(path) and path.resolve() not in above:
            yield from walk(path, enter, above)
        else:
            yield path
