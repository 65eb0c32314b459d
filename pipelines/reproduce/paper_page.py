"""The page: every experiment's section, made from the files that the experiments wrote."""

from __future__ import annotations

from pathlib import Path

from specialists.errors import InputError
from specialists.files import write_text

from ..runs import QUICK_REPRODUCTION, check_folder_of, kind_of
from .experiments import MODULES
from .paper_tables import PaperTable, kept_table

PAGE, ANOTHER = "paper.md", "name another file with --page"
TITLE = "# The paper's tables, reproduced"
INTRODUCTION = (
    "Hinton, Vinyals and Dean, [Distilling the Knowledge in a Neural Network]"
    "(https://arxiv.org/abs/1503.02531) (2015): the paper's figures beside those of this system. "
    "`specialists reproduce mnist --set data.arrays=PATH/mnist.npz` makes the first section, and "
    "with another experiment's name another one; with a config it is of other data, as in "
    "`specialists reproduce regulariser onet --set data.arrays=PATH/onet_minilm.npz`. Below each "
    "table it says how every figure of ours was made, and where and why we differ."
    "\n\n"
    "Ours are the mean over seeds ± their standard deviation and, in brackets, a 95% interval over "
    "seeds and test rows. Everything that is fitted or chosen (epochs, temperatures, biases) is "
    "fitted on validation rows; test rows choose nothing. Where a section's design was changed "
    "after test rows had been seen, it says so. The paper gives no spread."
)
QUICK = (
    "**Made with `--quick`**: small networks, a few epochs. It shows that everything runs; its "
    "figures mean nothing."
)


def paper_tables(folder: Path) -> list[PaperTable]:
    """What the experiments wrote into a folder, in the paper's order."""
    names = [file.stem for name in MODULES for file in sorted(folder.glob(f"{name}*.json"))]
    return [table for name in names if (table := kept_table(folder, name)) is not None]


def check_done(folder: Path) -> list[PaperTable]:
    """The tables that a page is made of; an InputError if there is none."""
    tables = paper_tables(folder)
    if not tables:
        raise InputError(
            "no experiment is done here, so there is nothing to make a page of",
            where=folder,
            fix="specialists reproduce mnist --set data.arrays=PATH/mnist.npz, and then the others",
        )
    return tables


def check_page(page: Path | None) -> None:
    """Check, before anything is trained, that the page can be written there.

    Raises
    ------
    InputError
        If its folder is not there or takes no files, or something else is in the way.
    """
    if page is None:
        return
    if page.is_dir():
        raise InputError("this is a folder, not a file", where=page, fix=ANOTHER)
    check_folder_of(page)
    if page.is_file() and not page.read_bytes().startswith(TITLE.encode()):
        what = "this file is not such a page, so it is not replaced"
        raise InputError(what, where=page, fix=ANOTHER)


def write_page(folder: Path, page: Path | None = None) -> Path:
    """Write the page, by default FOLDER/paper.md, and its figures beside it; returns its path.

    Raises
    ------
    InputError
        If no experiment is done, or a file of somebody else is in the way.
    """
    tables = check_done(folder)
    target = page or folder / PAGE
    check_page(target)
    seconds = {name: cost for table in tables for name, cost in table.seconds.items()}
    total = (
        f"All trainings together: {sum(seconds.values()) / 3600:.1f} CPU hours, each counted once; "
        "some serve several sections. One that was interrupted counts from its last start."
    )
    quick = [QUICK] if kind_of(folder) == QUICK_REPRODUCTION else []
    sections = [table.markdown() for table in tables]
    write_text(target, "\n\n".join([TITLE, *quick, INTRODUCTION, total, *sections]))
    if target.parent.resolve() != folder.resolve():
        for table in tables:
            table.write_drawings(target.parent)
    return target
