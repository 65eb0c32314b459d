"""What was measured is kept with its command, and shown on one page and in README."""

import dataclasses

import pytest
from test_seeds import compared

from pipelines.benchmarks import results
from specialists.errors import InputError
from specialists.evaluation.inference_times import InferenceTimes, Milliseconds
from specialists.files import read_json, write_json, write_text
from specialists.report import comparison_markdown

FIGURE = "![all](figures/cost.svg)"
COMMAND = "specialists compare onet64 --seeds 3"


@pytest.fixture
def comparison(tmp_path):
    found = compared(ensemble=0.56)
    write_json(tmp_path / "onet64" / "comparison.json", found.to_dict())
    results.keep(tmp_path / "onet64", COMMAND, tmp_path / "results")
    return found


def test_a_comparison_is_kept_with_its_command_and_shown_as_it_was(tmp_path, comparison):
    (result,) = results.kept_results(tmp_path / "results")
    assert (result.name, result.command) == ("onet64", COMMAND)
    title, _, body = comparison_markdown(comparison).removeprefix("# ").partition("\n")
    shown = results.page([result])
    name = f"onet64{title.removeprefix(comparison.dataset)}"
    assert f"\n## {name}\n\n`{COMMAND}` ({result.date}, commit {result.commit})\n{body}" in shown
    assert read_json(tmp_path / "results" / "onet64.json")["commit"] == result.commit


def test_the_newest_result_comes_first_and_a_table_keeps_its_title(tmp_path, comparison):
    write_text(tmp_path / "cost" / "gain_by_cost-500.md", "# few\n\nless\n")
    write_text(tmp_path / "cost" / "gain_by_cost-4342.md", "# all\n\nmore\n")
    write_text(tmp_path / "cost" / "gain_by_cost.svg", "<svg/>")
    file = results.keep(tmp_path / "cost", "python -m x", tmp_path / "results", "abc1234")
    assert (tmp_path / "figures" / "cost.svg").read_text("utf-8") == "<svg/>"
    write_json(file, {**read_json(file), "date": "2999-01-01"})
    shown = results.page(results.kept_results(tmp_path / "results"))
    places = [
        shown.index(text)
        for text in ("## all", "commit abc1234", FIGURE, "\nmore\n", "### few", "\nless\n", COMMAND)
    ]
    assert places == sorted(places)


def test_the_page_says_what_the_models_are_that_it_names(comparison):
    told = results.glossary([comparison_markdown(comparison)]).splitlines()
    assert [line.split("`")[1] for line in told] == list(comparison.models)
    assert "- `generalist`: one network for all classes." in told
    assert results.glossary(["`generalist`"]).count("\n") == 1
    assert results.glossary(["generalist"]) == ""


def test_the_short_table_gives_the_gain_its_cost_and_the_best_rival(tmp_path, comparison):
    header, _, line = results.short_table(results.kept_results(tmp_path / "results")).splitlines()
    assert header == "| data | generalist | with specialists | best of the rivals |"
    gain = comparison.gain("ensemble")
    low, high = (100 * end for end in gain.interval)
    told = f"{100 * gain.value:+.1f} [{low:+.1f}, {high:+.1f}] at 2.00x"
    assert line.startswith("| onet64, 9 classes | ")
    assert told in line
    assert line.count(" | ") == 3


def test_the_short_table_gives_milliseconds_of_one_machine(tmp_path, comparison):
    def told(relative):
        one = Milliseconds(0.2, 7.71)
        models = {"generalist": one}
        times = InferenceTimes(
            machine="A", threads=2, n_rows=1_000, models=models, relative=relative
        )
        (result,) = results.kept_results(tmp_path / "results")
        timed = dataclasses.replace(comparison, times=times)
        return results.short_table([dataclasses.replace(result, comparison=timed)])

    assert "%, 7.7 ms |" in told(relative=False)
    assert "ms" not in told(relative=True)


def test_the_table_of_readme_stands_between_its_marks():
    readme = f"before\n{results.BEGIN}old\n{results.END}after\n"
    new = results.with_table(readme, "new\n")
    assert new == f"before\n{results.BEGIN}new\n{results.END}after\n"
    with pytest.raises(InputError, match="no place"):
        results.with_table("nothing", "new\n")


def test_a_folder_without_a_result_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished comparison"):
        results.keep(tmp_path, "x", tmp_path / "results")


def test_what_is_committed_is_what_the_command_writes():
    text = results.README.read_text(encoding="utf-8")
    assert results.with_table(text, results.short_table(results.kept_results())) == text
    assert (results.DATA / "RESULTS.md").read_text("utf-8") == results.page(results.kept_results())
