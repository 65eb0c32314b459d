"""The bar of each stage: the pieces that a stage says it has are those that come."""

import logging
from typing import Any

import pytest
import small_run

from pipelines import stages
from specialists.runtime import Display, report_progress

SILENT = {"prepare-data", "write-report"}  # seconds, and nothing that takes long inside


class Recorded(Display):
    """Each stage's fractions, details, and the pieces that were expected of it."""

    def __init__(self) -> None:
        self.fractions, self.details, self.expected = {}, {}, {}

    def begin(self, work) -> None:
        self.fractions[work.description], self.details[work.description] = [], []

    def changed(self, work: Any) -> None:
        self.fractions[work.description].append(work.fraction)
        self.details[work.description].append(work.detail)
        self.expected[work.description] = list(work._pieces)


@pytest.fixture(scope="module", params=["plain", "everything"])
def recorded(request, tmp_path_factory):
    run = small_run.make_run(tmp_path_factory.mktemp("bars") / "run")
    if request.param == "everything":
        more = ["clusters.predictions=cross-fitted", "specialists.start=independent"]
        more += ["specialists.kind=both", "specialists.n_shared=2", "specialists.shortlist=4"]
        more += ["specialists.shared_epochs=1", "evaluation.baselines=[]"]
        run = small_run.changed_copy(run, run.folder.parent / "everything", *more)
    logger, shown = logging.getLogger("specialists"), Recorded()
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        with report_progress(shown):
            stages.run_stages(run)
    finally:
        logger.setLevel(before)
    return shown


def test_every_piece_that_a_stage_expects_comes(recorded):
    assert set(recorded.fractions) == {stage.name for stage in stages.STAGES}
    for stage, pieces in recorded.expected.items():
        if len(pieces) > 1:  # else the piece is not named
            lacking = [
                p for p in pieces if not any(d.startswith(p) for d in recorded.details[stage])
            ]
            assert lacking == [], stage


def test_a_stage_moves_on_to_its_end(recorded):
    for stage, fractions in recorded.fractions.items():
        assert fractions == sorted(fractions), stage
        if recorded.expected.get(stage):
            assert fractions[-1] == pytest.approx(1), stage
            assert len(set(fractions)) > 1, stage
    has_pieces = {stage for stage, pieces in recorded.expected.items() if pieces}
    assert has_pieces >= {s.name for s in stages.STAGES} - SILENT - {"cluster-classes"}
