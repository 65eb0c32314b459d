"""One thread a process, no window and no progress bars, before anything heavy is imported."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["SPECIALISTS_QUIET"] = "1"

import pytest
from readme_run import RUN, specialists

from pipelines.terminal import lines_and_bars
from specialists.evaluation import inference_times


@pytest.fixture(scope="session", autouse=True)
def shown_lines():
    """What the library logs is printed, as under the command."""
    with lines_and_bars():
        yield


@pytest.fixture(scope="session", autouse=True)
def one_round():
    """Models of the runs that tests make are timed in a single round."""
    inference_times.SECONDS, inference_times.ALONE = 0.0, 2


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory):
    """Runs that tests make here are recorded in a state directory of their own."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def readme_run(tmp_path_factory):
    """A folder with words.txt and a finished runs/emoji, trained on very little."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "words.txt").write_text("winkende Hand\ndrapeau : Canada\n", encoding="utf-8")
    assert "The report: runs/emoji/report.html" in specialists(RUN, folder)
    return folder
