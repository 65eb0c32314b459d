"""The notebooks that ship: what they are about, and a copy of one to work in."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from specialists.errors import InputError
from specialists.files import write_text

from .runs import check_folder_of

FOLDER = Path(__file__).parent / "notebooks"
SUFFIX = ".ipynb"


def shipped_notebooks() -> dict[str, str]:
    """The title of each, by name."""
    return {file.stem: _title(file) for file in sorted(FOLDER.glob(f"*{SUFFIX}"))}


def _title(file: Path) -> str:
    first = json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"]
    return "".join(first).partition("\n")[0].lstrip("# ")


def copy_notebook(name: str, target: Path | None = None, force: bool = False) -> Path:
    """Copy a notebook to a file, or into a folder under its own name; where it lies now.

    Raises
    ------
    InputError
        If there is none of this name, its folder is not there, or something lies there and
        ``force`` is not set.
    """
    known = shipped_notebooks()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            "no such notebook",
            got=name,
            expected=" or ".join(known),
            fix=f"did you mean `{near[0]}`?" if near else None,
        )
    target = Path() if target is None else target
    target = target / f"{name}{SUFFIX}" if target.is_dir() else target
    if target.suffix != SUFFIX:
        what = "a copy of a notebook needs a folder that exists, or a name that ends in .ipynb"
        raise InputError(what, where="DEST", got=target)
    if target.is_dir() or (target.exists() and not force):
        fix = None if target.is_dir() else "--force replaces it"
        raise InputError("something lies there already", where=target, fix=fix)
    check_folder_of(target)
    write_text(target, (FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
    return target
