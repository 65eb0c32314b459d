"""What report and comparison say of the search for a student's recipe."""

import dataclasses

import pytest
from synthetic_run import synthetic_run

from pipelines.finished_run import read_results
from specialists.evaluation import Comparison, TunedCandidate
from specialists.report import comparison_markdown, render
from specialists.report.search_tables import ranked_candidates, search_sentences
from specialists.report.verdict import verdict


def candidate(model="student", number=0, **changes) -> TunedCandidate:
    values = {"rung": 1, "n_rungs": 2, "share": 1 / 3, "top1": 0.5, "loss": 2.0}
    costs = {"training_flops": 1e9, "training_seconds": 10.0}
    return TunedCandidate(
        model=model, settings=f"T {number} | <b>", **{**values, **costs, **changes}
    )


CANDIDATES = (
    candidate(number=0, top1=0.7),
    candidate(number=1, top1=0.0, loss=None),
    candidate(number=2, rung=2, share=1.0, top1=0.6, training_flops=4e9, is_chosen=True),
    candidate("student_hard_labels", 3, rung=2, share=1.0, is_chosen=True),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    found = read_results(synthetic_run(tmp_path_factory.mktemp("run")))
    comparison = dataclasses.replace(found.comparison, candidates=(CANDIDATES,))
    return found, dataclasses.replace(found, comparison=comparison)


def test_the_chosen_candidate_comes_first_then_those_that_came_furthest():
    assert [c.settings[2] for c in ranked_candidates(CANDIDATES)] == ["2", "0", "1", "3"]


def test_a_sentence_says_what_was_chosen_of_how_many_and_for_what():
    student, hard = search_sentences(CANDIDATES)
    assert student == (
        "The student: of 3 candidates, in 2 rungs, validation chose T 2 | <b> (top-1 60.0%). "
        "The search took 6G FLOPs and 30.0 s."
    )
    assert "of 1 candidates" not in hard


def test_the_page_shows_every_candidate_of_a_search_and_nothing_without_one(results):
    without, page = map(render, results)
    assert 'id="search"' not in without
    assert "The search for the student" not in without
    assert '<a href="#search">Search</a>' in page
    assert page.count("T 0 | &lt;b&gt;") == page.count("T 1 | &lt;b&gt;") == 1
    assert "not finite" in page
    for told in ("search included. The intervals", "that of all of them (student.tuning)"):
        assert told in page
        assert told not in without


def test_a_comparison_says_what_the_search_chose_and_that_it_counts(results):
    without, text = (comparison_markdown(each.comparison) for each in results)
    assert "search" not in without
    assert "; a search for the student's recipe counts whole. A student's row" in text
    assert "| 5 | `student` | T 2 \\| \\<b\\> | 3 | 2 | 60.00 | 6G | 30.0 s |" in text
    assert "(all trainings of its search included)" in verdict(results[1].comparison).text


def test_candidates_go_into_json_and_back(results):
    comparison = results[1].comparison
    assert Comparison.from_dict(comparison.to_dict()).candidates == (CANDIDATES,)
    assert "candidates" not in results[0].comparison.to_dict()
