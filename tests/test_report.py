"""The report answers in words, escapes what users wrote and needs nothing but itself."""

import copy
import html.parser
import re

import hostile_names
import numpy as np
import pytest
from synthetic_run import SKILLS, synthetic_run

from specialists.errors import InputError
from specialists.report import summary_lines, write_report
from specialists.report.numbers import probability
from specialists.report.page import render, thumbnails
from specialists.report.record import read_record
from specialists.report.tables import answer_rows, class_rows, compact, duration
from specialists.report.words import (
    RIVALS,
    direction,
    left_out_sentence,
    retention_sentence,
    verdict,
)
from specialists.runs import Run, read_json, write_json, write_text

VOID = {"meta", "img", "br", "link", "input", "hr"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    names = [f"class {j}" for j in range(23)] + ["<script>alert(1)</script> & co"]
    return synthetic_run(tmp_path_factory.mktemp("run"), names=names)


@pytest.fixture(scope="module")
def page(run):
    return write_report(run).read_text(encoding="utf-8")


class Outline(html.parser.HTMLParser):
    """Checks nesting; collects tags, links and text."""

    def __init__(self):
        super().__init__()
        self.stack, self.tags, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src", "xlink:href"}]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _outline(page):
    outline = Outline()
    outline.feed(page)
    outline.close()
    return outline


def test_the_page_is_well_formed(page):
    assert _outline(page).stack == []


def test_the_page_needs_no_network(page):
    assert "http://" not in page
    assert "https://" not in page
    assert not {"script", "link", "iframe"} & set(_outline(page).tags)
    assert all(link.startswith(("#", "data:image/")) for link in _outline(page).links)


def test_what_users_wrote_is_escaped(page):
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert "example &lt;" in page
    assert "&lt;b&gt;made&lt;/b&gt;" in page


def test_a_page_shows_names_whatever_they_are(tmp_path):
    names = [*hostile_names.NAMES, *(f"class {j}" for j in range(12, 24))]
    page = render(read_record(synthetic_run(tmp_path, names=names)))
    page.encode()
    assert hostile_names.acting(page) == set()
    outline = _outline(page)
    assert outline.stack == []
    assert "script" not in outline.tags
    assert "L" * 200 not in page
    assert {r"\x1b[31mred", r"\ud800", "$x_1$", "]]>", "L" * 199 + "…"} <= set(outline.text)


def test_every_model_has_a_row_and_links_have_their_target(page):
    text = " ".join(_outline(page).text)
    assert all(name in text for name in SKILLS)
    targets = re.findall(r'href="#([a-z]+)"', page)
    assert targets
    assert all(f'id="{target}"' in page for target in targets)


def test_every_figure_has_a_caption(page):
    tags = _outline(page).tags
    assert tags.count("figure") == tags.count("figcaption") == 8


def test_the_answer_comes_first(run, page):
    answer = verdict(
        read_json(run.folder / "evaluation.json"),
        read_json(run.path("evaluate-models", "details.json")),
    )
    assert page.index(answer.headline) < page.index("<table")


def test_changed_examples_show_generalist_specialist_and_ensemble(page):
    cards = page.split('class="card"')[1:]
    assert cards
    for card in cards:
        assert re.search(r"generalist</dt>.*specialist \d+</dt>.*ensemble</dt>", card, re.S)


def test_config_seed_times_and_versions_are_there(page):
    text = " ".join(_outline(page).text)
    for word in ("seed = 5", "Seed 5", "51.9 s", "torch", "left out (41 rows)"):
        assert word in text


def test_the_chosen_rule_is_told_in_words(page):
    assert "<strong>the KL combination, by the specialists of the most probable 3 classes, " in page
    assert "What was learned" not in page


def test_learned_numbers_have_a_table(tmp_path):
    run = synthetic_run(tmp_path)
    learned = {
        "weights": [1.5, 0.25],
        "temperatures": [1.125, 0.875],
        "generalist_temperature": 0.5,
    }
    chosen = {"rule": "learned", "n": None, "weight": 1.0, "learned": learned}
    write_json(run.path("combine-predictions", "choice.json"), {"chosen": chosen})
    page = write_report(run).read_text(encoding="utf-8")
    assert "learned weights and temperatures, by every specialist</strong>" in page
    cells = re.findall(r"<tr><td>([a-z0-9 ]+)</td><td class=\"n\">([\d.]+)</td>", page)
    assert ("generalist", "1.00") in cells
    assert ("specialist 0", "1.50") in cells
    table = page[page.index("What was learned") :]
    assert re.search(r"specialist 1</td><td[^>]*>0\.25</td><td[^>]*>0\.88</td>", table)
    assert re.search(r"generalist</td><td[^>]*>1\.00</td><td[^>]*>0\.50</td>", table)
    assert _outline(page).stack == []


def test_how_many_rows_are_deferred_is_told(tmp_path):
    run = synthetic_run(tmp_path)
    chosen = {"rule": "side_by_side", "n": 2, "weight": 1.0, "confidence": 0.9996}
    write_json(run.path("combine-predictions", "choice.json"), {"chosen": chosen, "asked": 0.2512})
    page = write_report(run).read_text(encoding="utf-8")
    words = "where the generalist gives no class more than 99.96%: 25% of the validation rows"
    assert f"{words}</strong>." in page


def gated(folder, outcome: str, reason: str, **changes) -> str:
    """The page of a run whose gate let nobody, or one of three, in."""
    run = synthetic_run(folder)
    chosen = {"rule": "kl", "n": 3, "weight": 2.0}
    tests = {"validation_rows": 40, "validation_gain": 0.0125, "n_rows": 1234, "p": 0.0001}
    own = {"mean_gain": 0.02, "corrected_p": 0.0003, "admitted": True, "why_not": None}
    left_out = {"mean_gain": None, "corrected_p": None, "admitted": False, "why_not": "<no gain>"}
    rows = [{"specialist": m, **tests, **(own if m == 1 else left_out)} for m in range(3)]
    gate = {"method": "whole", "alpha": 0.05, "n_rows": 1234, "rule": chosen, "whole": None}
    gate |= {"specialists": rows, "outcome": outcome, "reason": reason, **changes}
    members = [] if outcome == "refused" else [1]
    choice = {"chosen": {**chosen, "members": members}, "gate": gate}
    write_json(run.path("combine-predictions", "choice.json"), choice)
    page = write_report(run).read_text(encoding="utf-8")
    assert _outline(page).stack == []
    assert "Validation chose <strong>the KL combination, by the specialists of the most" in page
    return page


def test_who_passed_the_gate_has_a_table(tmp_path):
    page = gated(tmp_path, "admitted", "on 1,234 rows kept for this test all is well")
    assert "1 of 3 specialists is admitted: on 1,234 rows kept for this test all is well." in page
    assert "stay out" not in page
    table = page[page.index("Which specialists may answer") :]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr>")[2:5]]
    assert cells[1] == ["1", "40", "+0.0125", "1,234", "+0.0200", "&lt; 0.001", "&lt; 0.001", "yes"]
    assert cells[2][4:] == ["\N{EN DASH}", "&lt; 0.001", "\N{EN DASH}", "no: &lt;no gain&gt;"]
    assert "what has to pass is the group" in table


def test_an_ensemble_that_is_its_generalist_is_told_first(tmp_path):
    page = gated(tmp_path, "refused", "nobody <helps>", method="each")
    assert "The specialists stay out: the ensemble answers like its generalist." in page
    assert "The ensemble answers exactly like its generalist: nobody &lt;helps&gt;." in page
    assert "what has to pass is the group" not in page
    assert summary_lines(tmp_path)[0].startswith("The specialists stay out")


def test_specialists_that_may_not_answer_are_left_out_and_counted(tmp_path):
    page = write_report(synthetic_run(tmp_path, members=(0, 3))).read_text(encoding="utf-8")
    told = "3 of 5 specialists may not answer and are left out here."
    conditional, gains = (page.index(word) for word in ("Conditional accuracy", 'id="gains"'))
    assert [told in page[start : start + 400] for start in (conditional, gains)] == [True, True]
    assert "Of 2 clusters, " in page
    table = page[page.index("with their classes") : gains]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in table.split("<tr>")[2:]]
    assert [row[3] == "\N{EN DASH}" for row in rows] == [False, True, True, False, True]


def test_an_ensemble_without_specialists_has_one_sentence_for_gains(tmp_path):
    page = write_report(synthetic_run(tmp_path, members=())).read_text(encoding="utf-8")
    assert "Conditional accuracy" not in page
    section = page[page.index('id="gains"') : page.index('id="calibration"')]
    told = "No specialist may answer, so there is no gain by cluster or by coverage, and no "
    assert re.sub("<[^>]*>", "", section).split("\n")[1] == f"{told}conditional accuracy."
    assert "<figure" not in section
    assert "specialist may answer" not in section.replace(told, "")
    assert _outline(page).stack == []


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({}, ""),
        ({"n_specialists": 8, "n_answering": 8}, ""),
        (
            {"n_specialists": 8, "n_answering": 7},
            "1 of 8 specialists may not answer and is left out here.",
        ),
    ],
)
def test_left_out_is_said_of_those_that_may_not_answer_alone(counts, sentence):
    assert left_out_sentence(counts) == sentence


def test_shares_of_confusions_stand_beside_those_of_random_clusters(run, page):
    share = 5 * 4 * 3 / (24 * 23)
    text = " ".join(_outline(page).text)
    assert "70.0% of the generalist's confusions fall inside one of them; inside random" in text
    assert text.count(f"random clusters of the same sizes {share:.1%} would") == 2
    assert page.count(f"<small>random {share / 5:.1%}</small>") == 5


def test_a_run_that_was_not_tested_says_so(tmp_path):
    page = gated(tmp_path, "not tested", "no rows", specialists=[])
    assert "not tested before they entered: no rows." in page
    assert "Which specialists may answer" not in page


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        write_report(Run(tmp_path))


def test_a_run_that_was_not_evaluated_names_the_command(tmp_path):
    write_text(tmp_path / "config.toml", "seed = 1")
    with pytest.raises(InputError, match="specialists evaluate-models"):
        write_report(Run(tmp_path))


def test_images_are_shown_as_small_pictures(tmp_path):
    page = write_report(synthetic_run(tmp_path, kind="images")).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") > 24
    assert _outline(page).stack == []


def test_every_example_names_its_line_in_the_users_file(run, page):
    details = read_record(run).details
    shown = [e for kind in ("mended", "broken") for e in details[kind]["examples"][:12]]
    for example in [*shown, *details["label_errors"]["examples"]]:
        assert example["source_row"] == example["row"] + 2
        assert f"<small>line {example['source_row']}</small>" in page


def test_features_without_texts_are_named_by_row(tmp_path):
    page = write_report(synthetic_run(tmp_path, kind="features")).read_text(encoding="utf-8")
    assert re.search(r"test row \d+", page)


def test_thousands_of_classes_give_a_page_that_opens(tmp_path):
    run = synthetic_run(tmp_path, n_classes=2320, n_test=600, kind="features")
    assert len(write_report(run).read_text(encoding="utf-8")) < 2_500_000


def test_a_run_with_generalist_and_ensemble_alone_still_has_a_report(run, tmp_path):
    record = read_record(run)
    few = {name: record.evaluation["models"][name] for name in ("generalist", "ensemble")}
    assert few
    page = _rendered(
        record,
        models=few,
        differences=record.evaluation["differences"][:2],
        retention=None,
        coverage=record.evaluation["coverage"][1:],
    )
    assert "student_hard_labels" not in page
    assert "is in 1 specialist, so there is no gain by coverage" in page


def _rendered(record, **changes):
    import dataclasses

    from specialists.report.page import render

    details = copy.deepcopy(dict(record.details))
    details["per_class"].pop("student")
    details["reliability"].pop("student")
    details["under_trained"] = None
    alone = dataclasses.replace(
        record,
        evaluation={**record.evaluation, **changes},
        details=details,
        covariance=None,
        choice=None,
        histories={},
        seconds={},
    )
    return render(alone)


def _evaluation(gains):
    """Differences of the ensemble against each model, as (low, high) in top-1."""
    differences = []
    for rival, (low, high) in gains.items():
        common = {"a": "ensemble", "b": rival, "p": 0.01}
        value = (low + high) / 2
        differences.append({**common, "metric": "top1", "value": value, "interval": [low, high]})
        differences.append({**common, "metric": "nll", "value": -value, "interval": [-high, -low]})
    model = {"top1": 0.5, "nll": 2.0, "parameters": 10, "inference_flops": 10.0}
    models = dict.fromkeys(["generalist", "ensemble", *gains], model)
    return {
        "n_test": 1000,
        "n_classes": 7,
        "models": models,
        "differences": differences,
        "retention": None,
    }


CLEAR, UNCLEAR, WORSE = (0.01, 0.03), (-0.01, 0.01), (-0.03, -0.01)


@pytest.mark.parametrize(
    ("generalist", "wide", "headline", "tone"),
    [
        (CLEAR, CLEAR, "The specialists helped more than any control.", "good"),
        (CLEAR, UNCLEAR, "helped, but not clearly more than a wider generalist.", "unclear"),
        (CLEAR, WORSE, "helped, but a wider generalist did better.", "unclear"),
        (UNCLEAR, CLEAR, "The specialists made no clear difference.", "unclear"),
        (WORSE, CLEAR, "The specialists made the predictions worse.", "bad"),
    ],
)
def test_the_headline_follows_the_intervals(generalist, wide, headline, tone):
    evaluation = _evaluation({"generalist": generalist, "generalist_wide": wide})
    answer = verdict(evaluation, {"under_trained": None})
    assert answer.headline.endswith(headline)
    assert answer.tone == tone


def test_a_specialist_that_loses_to_all_controls_is_told_shortly():
    evaluation = _evaluation({"generalist": CLEAR} | dict.fromkeys(RIVALS, WORSE))
    headline = verdict(evaluation, {"under_trained": None}).headline
    assert headline == "The specialists helped, but every control did better."


@pytest.mark.parametrize(
    ("interval", "phrase"),
    [
        (CLEAR, "is ahead, +2.00"),
        (UNCLEAR, "no clear difference"),
        (WORSE, "is behind, \N{MINUS SIGN}2.00"),
    ],
)
def test_each_control_is_told_whichever_way_it_falls(interval, phrase):
    evaluation = _evaluation({"generalist": CLEAR, "generalist_wide": interval})
    sentences = verdict(evaluation, {"under_trained": None}).sentences
    assert any("generalist_wide" in s and phrase in s for s in sentences)


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ({"nll": 2.25}, "It is worse than the generalist (NLL 2.250 against 2.000 nats)."),
        ({"top1": 0.4}, "It is worse than the generalist (top-1 40.0% against 50.0%)."),
        (
            {"top1": 0.4, "nll": 2.25},
            "It is worse than the generalist (top-1 40.0% against 50.0% and NLL 2.250 against "
            "2.000 nats).",
        ),
        ({"top1": 0.6, "nll": 1.9}, None),
    ],
)
def test_a_rival_that_is_worse_than_the_generalist_is_flagged(flaw, said):
    evaluation = _evaluation({"generalist": CLEAR, "generalist_wide": CLEAR})
    evaluation["models"]["generalist_wide"] = evaluation["models"]["generalist"] | flaw
    sentences = verdict(evaluation, {"under_trained": None}).sentences
    assert [s for s in sentences if s.startswith("It is worse")] == ([said] if said else [])


def test_averaging_for_the_same_inference_is_a_rival_too():
    rival = "generalist_ensemble_same_inference"
    answer = verdict(_evaluation({"generalist": CLEAR, rival: WORSE}), {"under_trained": None})
    assert answer.headline.endswith("but several generalists of the same inference did better.")
    assert any(rival in sentence for sentence in answer.sentences)


def test_an_under_trained_generalist_is_a_warning():
    evaluation = _evaluation({"generalist": CLEAR})
    found = verdict(evaluation, {"under_trained": {"flag": True, "relative_gain": 0.034}})
    assert "3.4% relative" in found.warnings[0]
    assert not verdict(
        evaluation, {"under_trained": {"flag": False, "relative_gain": 0.0}}
    ).warnings


def test_a_student_that_keeps_nothing_is_told_so(run):
    record = read_record(run)
    details = {**record.details, "retention": {"interval": [-0.1, 0.02]}}
    assert "keeps none of" in retention_sentence({"retention": -0.02}, details)


def test_other_valid_labels_count_as_right():
    entry = {"row": 1, "text": "a", "label": 0, "valid": [0, 2], "specialists": []}
    answer = [{"class": 2, "probability": 0.7}, {"class": 1, "probability": 0.2}]
    row = answer_rows([entry | {"generalist": answer, "ensemble": answer}], list("xyz"))[0]
    assert row["also"] == ["z"]
    assert [a["right"] for a in row["voices"][0][1]] == [True, False]


@pytest.mark.parametrize(("value", "shown"), [(0.004, "<1%"), (0.006, "1%"), (0.416, "42%")])
def test_probabilities_are_shown_in_whole_percent(value, shown):
    assert probability(value) == shown


@pytest.mark.parametrize(("metric", "sign"), [("top1", 1), ("nll", -1)])
def test_a_rise_is_good_in_accuracy_and_bad_in_loss(metric, sign):
    assert direction({"metric": metric, "interval": [0.1, 0.2]}) == sign


def test_the_terminal_gets_two_to_five_lines(run):
    lines = summary_lines(run.folder)
    assert 2 <= len(lines) <= 5
    assert lines[0].startswith("The specialists")
    assert any("generalist_wide" in line for line in lines)


def test_a_lost_retention_gives_its_reason(tmp_path):
    skills = {"student_hard_labels": (0.5, 0.25, 90_000, 60_000)}
    run = synthetic_run(tmp_path, skills=skills)
    page = write_report(run).read_text(encoding="utf-8")
    assert "cannot be said: ensemble - student_hard_labels is" in page
    assert "keeps" not in " ".join(summary_lines(run.folder))


def test_class_tables_show_the_extremes():
    per_class = {"n": [5, 0, 4, 8], "generalist": [0.2, None, 0.5, 0.5]}
    table = class_rows(per_class | {"student": [0.4, None, 0.25, 0.5]}, list("abcd"), "student")
    assert [row["name"] for row in table["gains"]] == ["a"]
    assert [row["name"] for row in table["losses"]] == ["c"]
    assert (table["n_gains"], table["n_losses"], table["n_equal"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 12, 12), (12, 12)), ((3, 12, 12), (12, 12)), ((1, 300, 200), (75, 112))],
)
def test_thumbnails_keep_small_images_and_shrink_large_ones(shape, size):
    import base64
    import io

    from PIL import Image

    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    data = thumbnails(image[None], [0])[0].split(",")[1]
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.size == size
    if shape == (1, 12, 12):
        assert (np.asarray(picture) == image[0]).all()


@pytest.mark.parametrize(("value", "shown"), [(1_234_567, "1.23M"), (950, "950"), (4e9, "4G")])
def test_counts_are_shown_in_three_digits(value, shown):
    assert compact(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(4.23, "4.2 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")]
)
def test_times_are_told_as_people_do(seconds, shown):
    assert duration(seconds) == shown


def test_groups_of_examples_are_told_and_few_are_no_test(tmp_path):
    run = synthetic_run(tmp_path)
    evaluation = read_json(run.folder / "evaluation.json")
    about = read_json(run.path("prepare-data", "dataset.json"))
    assert "in 400 groups" not in page_of(run, evaluation, about)
    groups = {"train": 400, "test": 300}
    page = page_of(run, evaluation | {"n_groups": 300}, about | {"groups": groups})
    assert "On 400 test examples of 24 classes, in 300 groups, top-1 goes from" in page
    assert "95% bootstrap interval over 400 test examples in 300 groups." in page
    assert "400 train, 400 validation, 400 test in 300 groups examples" in page
    assert "both over groups of examples." in page
    untested = [d | {"p": None} for d in evaluation["differences"]]
    page = page_of(run, evaluation | {"n_groups": 5, "differences": untested}, about)
    assert "95% interval, by Student&#39;s t, over 5 groups of test examples." in page
    assert page.count(">5 groups: no test<") == len(untested)
    assert re.search(r"percentage points \(95% interval [^;]*; 5 groups: no test\)", page)


def page_of(run, evaluation, about) -> str:
    write_json(run.folder / "evaluation.json", evaluation)
    write_json(run.path("prepare-data", "dataset.json"), about)
    page = write_report(run).read_text(encoding="utf-8")
    assert _outline(page).stack == []
    assert summary_lines(run.folder)
    return page
