"""Three stages that take no time, and the command with them in place of the real ones.

``python toy_stages.py ARGUMENTS`` is ``specialists ARGUMENTS``. The second stage has four units,
the one named by TOY_HANGS without end; the third adds them up into report.html.
"""

import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines import __main__ as command
from pipelines import stages, write_report
from pipelines.runs import Run, ensure_result
from pipelines.stage import Stage
from specialists.errors import DataError
from specialists.files import artifacts, manifest_key, read_json, write_json, write_text

CONFIG = 'seed = 3\n[data]\nname = "languages"\n[generalist]\nepochs = 6\n'
N_UNITS = 4


def prepare(run: Run) -> None:
    if run.config.data.max_examples == 3:
        raise DataError("too few examples", where="class 7", got=3, expected="at least 100")
    table = run.config.data.table
    content = Path(table).read_text() if table else "numbers"
    about = {"kind": "text", "content": content, "class_names": list("abcdefghijkl")}
    write_json(run.path("prepare-data", "dataset.json"), about)
    write_json(run.path("prepare-data", "numbers.json"), [run.config.seed + i for i in range(9)])


def train(run: Run) -> None:
    epochs = run.config.resolve(run.kind).generalist.epochs
    for index in range(N_UNITS):
        number = read_json(run.path("prepare-data", "numbers.json"))[index]

        def build(folder: Path, value: int = number) -> None:
            write_json(folder / "checkpoint.json", value)
            print(f"trains {folder.name}", flush=True)
            if folder.name == os.environ.get("TOY_HANGS"):
                time.sleep(60)
            write_json(folder / "weights.json", read_json(folder / "checkpoint.json") * epochs)
            (folder / "checkpoint.json").unlink()

        key = manifest_key({}, {"epochs": epochs, "number": number})
        ensure_result(run.path("train-generalist", f"unit-{index}"), key, build)
    write_json(run.path("train-generalist", "best.json"), epochs)


def report(run: Run) -> None:
    units = sorted(run.path("train-generalist").glob("unit-*/weights.json"))
    write_text(run.folder / "report.html", f"<p>{sum(read_json(unit) for unit in units)}")
    write_json(run.path("write-report", "details.json"), len(units))


TOY_STAGES = (
    Stage("prepare-data", ("seed", "data"), (), prepare, files=("data.table", "data.factory")),
    Stage("train-generalist", ("generalist",), ("prepare-data/*",), train),
    Stage(
        "write-report",
        ("report",),
        ("prepare-data/dataset.json", "train-generalist/**/*"),
        report,
        outputs=("report.html",),
    ),
)


def results(folder: Path, of_lists: bool = True) -> dict[str, bytes]:
    """Every artifact that must not depend on interruptions, with the lists of what we wrote."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    hidden = ("timing", ".lock") if of_lists else ("timing", ".lock", ".specialists-written")
    kept = [file for file in files if not file.name.startswith(hidden)]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in kept}


def kill_at(moment: int) -> None:
    """Let this process be killed at its ``moment``-th chance: two a write, one a removal."""
    chances = iter(range(moment + 1))
    replace, unlink = os.replace, Path.unlink

    def chance() -> None:
        if next(chances) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def risky(*arguments) -> None:
        chance()
        replace(*arguments)
        chance()

    def risky_unlink(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        chance()

    artifacts.os.replace = risky
    Path.unlink = risky_unlink  # type: ignore[method-assign]


def in_a_fork(work: Callable[[], None]) -> bool:
    """Whether ``work`` ended in a process of its own, instead of being killed."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as sys.stdout:
            work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def attempt(
    folder: Path, moment: int | None = None, config: str = CONFIG, force: tuple[str, ...] = ()
) -> Callable[[], None]:
    def work() -> None:
        if moment is not None:
            kill_at(moment)
        run = Run(folder)
        with run.lock():
            if not run.config_file.is_file() or run.config_file.read_text() != config:
                write_text(run.config_file, config)
            stages.run_stages(run, force=force)

    return work


def kill_everywhere(root: Path) -> int:
    """Kill a run at every moment, go on with it, compare; the number of moments."""
    os.fsync = lambda file: None  # guards against power cuts, and takes long
    assert in_a_fork(attempt(root / "whole"))
    expected = results(root / "whole")
    moment = 0
    while not in_a_fork(attempt(root / f"run-{moment}", moment)):
        assert in_a_fork(attempt(root / f"run-{moment}")), moment
        assert results(root / f"run-{moment}") == expected, moment
        moment += 1
    return moment


def kill_remakes(root: Path, change: str) -> int:
    """Kill the remake of a run that holds files of the user; go on; the number of moments."""
    os.fsync = lambda file: None
    config = CONFIG if change == "force" else CONFIG.replace("seed = 3", "seed = 4")
    force = tuple(stage.name for stage in TOY_STAGES) if change == "force" else ()
    assert in_a_fork(attempt(root / "old"))
    for name in ("prepare-data", "train-generalist", "train-generalist/unit-1", "write-report"):
        (root / "old" / name / "notes.txt").write_text("the user's")
    if change == "older":
        for file in [*(root / "old").rglob(".specialists*")]:
            file.unlink()
    shutil.copytree(root / "old", root / "whole")
    assert in_a_fork(attempt(root / "whole", None, config, force))
    expected = results(root / "whole", of_lists=False)
    for moment in itertools.count(("seed", "force", "older").index(change), 3):  # to save time
        run = shutil.copytree(root / "old", root / f"run-{moment}")
        if in_a_fork(attempt(run, moment, config, force)):
            return moment
        assert in_a_fork(attempt(run, None, config)), moment
        assert results(run, of_lists=False) == expected, moment
        shutil.rmtree(run)
    raise AssertionError


def use_toys() -> None:
    stages.STAGES = TOY_STAGES
    write_report.closing_lines = lambda run: [f"found {run.folder.name}"]
    command.tell_forecast = lambda *_: None  # which would load PyTorch


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    use_toys()
    if sys.argv[1] == "kill-everywhere":
        print(kill_everywhere(Path(sys.argv[2])))
    elif sys.argv[1] == "kill-remakes":
        print(kill_remakes(Path(sys.argv[2]), sys.argv[3]))
    else:
        command.main()
