"""Everything that was measured -> ``RUN/report.html``.

Which model it advises is in RUN/write-report/advice.json, too, for ``specialists predict``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from specialists.catalogue import GENERALIST, STUDENT
from specialists.files import disk_use, write_json, write_text

from .runs import Run

if TYPE_CHECKING:
    from specialists.report import Results

ADVICE = "write-report/advice.json"
OPENERS = {"darwin": "open", "win32": "start"}
NEW_INPUTS = {"images": "NEW.png", "text": "NEW.txt"}


def execute(run: Run) -> None:
    """Draw the figures and write one HTML file that holds them."""
    from specialists.report import recommended, render

    from .finished_run import read_results

    results = read_results(run)
    write_json(run.folder / ADVICE, {"model": recommended(results.comparison) or GENERALIST})
    write_text(run.folder / "report.html", render(results))


def closing_lines(run: Run) -> list[str]:
    """What a finished run found, for the terminal, and three commands to go on with."""
    from specialists.catalogue import BASELINES
    from specialists.report import recommended, summary_lines

    from .finished_run import read_results
    from .kept_weights import keeping_command, lacks_weights

    results = read_results(run)
    lines, advised = summary_lines(results), recommended(results.comparison)
    if advised in BASELINES and lacks_weights(run.folder, advised):
        lines.insert(1, f"  its weights: `{keeping_command(run.folder)}`")
    return [*lines, "", "To go on:", *(f"  {command}" for command in next_commands(run, results))]


def next_commands(run: Run, results: Results) -> list[str]:
    """Commands of a shell: ask the best model that can predict, see the report, run more seeds."""
    from specialists.report import best_at_hand

    from .kept_weights import lacks_weights

    def at_hand(name: str) -> bool:
        return not lacks_weights(run.folder, name)

    model, page = best_at_hand(results.comparison, at_hand), run.folder / "report.html"
    folder, config = quote(str(run.folder)), quote(str(run.config_file))
    opener = OPENERS.get(sys.platform, "xdg-open")
    opened = f"{opener} {quote(str(page))}"
    if not shutil.which(opener):
        opened = f"{quote(sys.executable)} -m webbrowser {page.absolute().as_uri()}"
    before, inputs, after = _new_inputs(run, results)
    if model != STUDENT and run.path("prepare-data", "test.predictions.npy").is_file():
        after = f" --generalist-probs NEW-PROBS.npy{after}"
    comparison = quote(str(run.folder.with_name(f"compare-{run.folder.name}")))
    return [
        f"{before}specialists predict {folder} {inputs} --model {model}{after}",
        opened,
        f"specialists compare {config} --seeds 3 --out {comparison}",
    ]


def _new_inputs(run: Run, results: Results) -> tuple[str, str, str]:
    """A command that writes inputs to predict, or "", their file, and what to add to the command.

    Texts are one of the run's examples, so that the command works as it stands; other inputs are
    those of the user's own file or folder, if there is one.
    """
    text = results.example_text
    if text is not None:
        file = quote(str(run.folder / "new.txt"))
        return f"echo {quote(text)} > {file} && ", file, ""
    data = run.config.data
    own = data.table or data.arrays or data.images
    file = str(own) if isinstance(own, str | Path) else NEW_INPUTS.get(results.data.kind, "NEW.npy")
    return "", quote(file), " --top 1 | head" if own else ""


def disk_line(folder: Path) -> str:
    """How much of the disk the files in a folder take, for the terminal."""
    from specialists.report.numbers import disk_space

    return f"disk: {disk_space(disk_use(folder))} in {folder}"
