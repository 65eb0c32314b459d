"""The report answers in words, escapes what users wrote and needs nothing but itself."""

import dataclasses
import html.parser
import re
import shlex

import hostile_names
import numpy as np
import pytest
from synthetic_run import SKILLS, synthetic_run, write_choice

from pipelines.finished_run import read_results
from pipelines.runs import Run
from pipelines.write_report import closing_lines, execute
from specialists.errors import InputError
from specialists.evaluation import InferenceTimes, Milliseconds
from specialists.evaluation.details import Changes, UnderTrained
from specialists.evaluation.findings import Difference
from specialists.evaluation.notable_examples import Answer, ChangedExample, SpecialistAnswer
from specialists.files import read_json, write_json, write_text
from specialists.report import render, summary_lines
from specialists.report.numbers import compact, duration, probability
from specialists.report.page import thumbnails
from specialists.report.sentences import left_out_sentence, warnings
from specialists.report.table_rows import changes_by_class, class_table
from specialists.report.verdict import verdict

VOID = {"meta", "img", "br", "link", "input", "hr"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    names = [f"class {j}" for j in range(23)] + ["<script>alert(1)</script> & co"]
    return synthetic_run(tmp_path_factory.mktemp("run"), names=names)


def written(run) -> str:
    """The page in the run folder."""
    execute(run)
    return (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(run):
    return written(run)


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
    assert not {"link", "iframe"} & set(_outline(page).tags)
    assert all(link.startswith(("#", "data:image/")) for link in _outline(page).links)


def test_what_users_wrote_is_escaped(page):
    assert page.count("<script>") == _outline(page).tags.count("script") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert "example &lt;" in page
    assert "&lt;b&gt;made&lt;/b&gt;" in page


def test_a_page_shows_names_whatever_they_are(tmp_path):
    names = [*hostile_names.NAMES, *(f"class {j}" for j in range(12, 24))]
    page = render(read_results(synthetic_run(tmp_path, names=names)))
    page.encode()
    assert hostile_names.acting(page) == set()
    outline = _outline(page)
    assert outline.stack == []
    assert outline.tags.count("script") == 1
    assert "L" * 200 not in page
    assert {r"\x1b[31mred", r"\ud800", "$x_1$", "]]>", "L" * 199 + "…"} <= set(outline.text)


def test_every_model_has_a_row_and_links_have_their_target(page):
    text = " ".join(_outline(page).text)
    assert all(name in text for name in SKILLS)
    targets = re.findall(r'href="#([a-z]+)"', page)
    assert targets
    assert all(f'id="{target}"' in page for target in targets)


def test_measured_times_stand_beside_flops(tmp_path):
    run = synthetic_run(tmp_path)
    assert "1 row:" not in (untimed := written(run))
    assert " ms" not in untimed
    models = {"generalist": Milliseconds(0.2, 5.0), "ensemble": Milliseconds(0.9, 12.4)}
    reasons = {"student": "<b>it</b> failed"}
    times = InferenceTimes(
        machine="A <CPU>", threads=2, n_rows=400, models=models, not_timed=reasons
    )
    write_json(run.path("evaluate-models", "timing-inference.json"), times.to_dict())
    page = written(run)
    assert _outline(page).stack == []
    table = page[page.index('class="models"') :].partition("</table>")[0]
    header, *rows = table.split("<tr>")[1:]
    assert "ms, 400<br>rows</th>" in header
    assert ">12<small>1 row: 0.90</small></td>" in rows[1]
    assert all(row.count("<td") == header.count("<th") for row in rows)
    table = page[page.index('id="why"') :].partition("</table>")[0]
    assert "ms for<br>400 rows</th>" in table
    assert re.search(r'>ensemble</span></td>.*<td class="n">12</td><td class="n" data-v', table)
    assert re.search(r'>student</span></td>.*<td class="n">\N{EN DASH}</td><td class="n" d', table)
    assert "several rounds (A &lt;CPU&gt;; 2 threads)" in page
    assert "Not timed: student (&lt;b&gt;it&lt;/b&gt; failed)." in page


@pytest.mark.parametrize("content", ["{", "[]", '{"machine": 3}'])
def test_damaged_times_are_left_out(tmp_path, content):
    run = synthetic_run(tmp_path)
    write_text(run.path("evaluate-models", "timing-inference.json"), content)
    assert read_results(run).comparison.times is None


def test_every_figure_has_a_caption(page):
    tags = _outline(page).tags
    assert tags.count("figure") == tags.count("figcaption") == 9


def test_the_answer_comes_first(run, page):
    answer = verdict(read_results(run).comparison)
    told = f"<b>{answer.headline}:</b> <span>{answer.sentences[0]}</span>"
    assert page.index(told) < page.index("<table")
    assert page.index(answer.caution) < page.index("<nav")


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
    assert (
        "<strong>the KL combination, asking the specialists of each row&#39;s 3 most probable "
        in page
    )
    assert "What was learned" not in page


def test_learned_numbers_have_a_table(tmp_path):
    run = synthetic_run(tmp_path)
    learned = {
        "weights": [1.5, 0.25],
        "temperatures": [1.125, 0.875],
        "generalist_temperature": 0.5,
    }
    chosen = {"rule": "learned", "n": None, "weight": 1.0, "learned": learned}
    write_choice(run, chosen)
    page = written(run)
    assert "learned weights and temperatures, asking every specialist</strong>" in page
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
    write_choice(run, chosen, asked=0.2512)
    page = written(run)
    words = "where the generalist is more than 99.96% sure, it answers alone (25% of the "
    assert f"{words}validation rows are left to specialists)</strong>." in page


def admitted(folder, outcome: str, reason: str, **changes) -> str:
    """The page of a run whose admission test let nobody, or one of three, in."""
    run = synthetic_run(folder)
    chosen = {"rule": "kl", "n": 3, "weight": 2.0}
    tests = {"validation_rows": 40, "validation_gain": 0.0125, "n_rows": 1234, "p": 0.0001}
    tests["n_groups"] = 1234
    own = {"mean_gain": 0.02, "corrected_p": 0.0003, "admitted": True, "why_not": None}
    left_out = {"mean_gain": None, "corrected_p": None, "admitted": False, "why_not": "<no gain>"}
    rows = [{"specialist": m, **tests, **(own if m == 1 else left_out)} for m in range(3)]
    admission = {"n_rows": 1234, "specialists": rows, "outcome": outcome, "reason": reason}
    write_choice(run, chosen, **admission, **changes)
    page = written(run)
    assert _outline(page).stack == []
    assert "Validation chose <strong>the KL combination, asking the specialists of each" in page
    return page


def test_who_passed_the_admission_test_has_a_table(tmp_path):
    page = admitted(tmp_path, "admitted", "on 1,234 rows kept for this test all is well")
    assert "1 of 3 specialists is admitted: on 1,234 rows kept for this test all is well." in page
    assert "stay out" not in page
    table = page[page.index("Which specialists may answer") :]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr>")[2:5]]
    assert cells[1] == ["1", "40", "+0.0125", "1,234", "+0.0200", "&lt; 0.001", "&lt; 0.001", "yes"]
    assert cells[2][4:] == ["\N{EN DASH}", "&lt; 0.001", "\N{EN DASH}", "no: &lt;no gain&gt;"]
    assert "it is the group that has to pass" in table


def test_an_ensemble_that_is_its_generalist_is_told_first(tmp_path):
    page = admitted(tmp_path, "refused", "nobody <helps>", method="each")
    assert page.index("stay out: the generalist answers") < page.index("<nav")
    told = "Specialists were refused: nobody &lt;helps&gt;. So the ensemble answers exactly like"
    assert page.count(told) == 1
    assert "it is the group that has to pass" not in page


def test_specialists_that_may_not_answer_are_left_out_and_counted(tmp_path):
    page = written(synthetic_run(tmp_path, members=(0, 3)))
    gains = page.index('id="gains"')
    assert "3 of 5 specialists may not answer and are left out here." in page[gains : gains + 400]
    assert "Conditional accuracy" in page[gains:]
    assert "Of 2 clusters, " in page
    table = page[page.index('id="clusters-table"') : gains]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in table.split("<tr>")[2:]]
    assert [row[3] == "\N{EN DASH}" for row in rows] == [False, True, True, False, True]


def test_what_is_shut_is_not_shown_as_zeros(tmp_path):
    run = synthetic_run(tmp_path, members=())
    write_choice(run, {"rule": "kl", "n": 3}, outcome="refused", reason="no <gain>")
    page = written(run)
    assert _outline(page).stack == []
    for left_out in ("Conditional accuracy", 'id="gains"', 'id="examples"', "gain, points</th>"):
        assert left_out not in page
    assert page.count("Specialists were refused: no &lt;gain&gt;.") == 1
    table = page[page.index('id="class-table"') :].partition("</thead>")[0]
    assert "the student" in table
    assert "specialists" not in table
    targets = re.findall(r'href="#([a-z]+)"', page)
    assert all(f'id="{target}"' in page for target in targets)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((0, 0), ""),
        ((8, 8), ""),
        ((8, 0), ""),
        ((8, 7), "1 of 8 specialists may not answer and is left out here."),
    ],
)
def test_left_out_is_said_of_those_that_may_not_answer_alone(counts, sentence):
    assert left_out_sentence(*counts) == sentence


def test_shares_of_confusions_stand_beside_those_of_random_clusters(run, page):
    share = 5 * 4 * 3 / (24 * 23)
    text = " ".join(_outline(page).text)
    assert "70.0% of the generalist's confusions fall inside one of them; inside random" in text
    assert text.count(f"random clusters of the same sizes {share:.1%} would") == 2
    assert page.count(f"<small>random {share / 5:.1%}</small>") == 5


def test_a_run_that_was_not_tested_says_so(tmp_path):
    page = written(synthetic_run(tmp_path))
    assert "not tested before they entered: no rows." in page
    assert "Which specialists may answer" not in page


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        execute(Run(tmp_path))


def test_a_run_that_was_not_evaluated_names_the_command(tmp_path):
    write_text(tmp_path / "config.toml", "seed = 1")
    with pytest.raises(InputError, match="specialists evaluate-models"):
        execute(Run(tmp_path))


def test_images_are_shown_as_small_pictures(tmp_path):
    page = written(synthetic_run(tmp_path, kind="images"))
    assert page.count("data:image/png;base64,") > 24
    assert _outline(page).stack == []


def test_every_example_names_its_line_in_the_users_file(run, page):
    details = read_results(run).details
    shown = [e for part in (details.fixed, details.broken) for e in part.examples[:12]]
    for example in [*shown, *details.label_errors.examples]:
        assert example.source_row == example.row + 2
        assert f"<small>line {example.source_row}</small>" in page


def test_features_without_texts_are_named_by_row(tmp_path):
    page = written(synthetic_run(tmp_path, kind="features"))
    assert re.search(r"test row \d+", page)


def test_thousands_of_classes_give_a_page_that_opens(tmp_path):
    run = synthetic_run(tmp_path, n_classes=2320, n_test=600, kind="features")
    assert len(written(run)) < 2_500_000


def test_a_run_with_generalist_and_ensemble_alone_still_has_a_report(run):
    results, names = read_results(run), {"generalist", "ensemble"}
    evaluation, details, comparison = results.evaluation, results.details, results.comparison
    alone = dataclasses.replace(
        results,
        evaluation=dataclasses.replace(
            evaluation,
            models=_only(evaluation.models, names),
            differences=evaluation.differences[:2],
            retention=None,
            coverage=evaluation.coverage[1:],
        ),
        details=dataclasses.replace(
            details,
            per_class=_only(details.per_class, {"n", *names}),
            reliability=_only(details.reliability, names),
            under_trained=None,
        ),
        comparison=dataclasses.replace(comparison, models=_only(comparison.models, names)),
        covariance=None,
        histories={},
        seconds={},
    )
    page = render(alone)
    assert "student_hard_labels" not in page
    assert "is in 1 specialist, so there is no gain by coverage" in page
    lines = summary_lines(alone)
    assert lines[0].startswith("Use specialists: ")
    assert [line.split()[0] for line in lines[1:4]] == ["top-1", "keep", "use"]
    assert not any("student" in line for line in lines)


def _only(mapping, names):
    return {name: value for name, value in mapping.items() if name in names}


def test_an_under_trained_generalist_is_a_warning(run):
    results = read_results(run)
    flagged, fine = (
        dataclasses.replace(results.details, under_trained=UnderTrained(flag, 0.034))
        for flag in (True, False)
    )
    assert "3.4% relative" in warnings(flagged)[0]
    assert "3.4% relative" in render(dataclasses.replace(results, details=flagged))
    lines = summary_lines(dataclasses.replace(results, details=flagged))
    assert lines[-1] == "  warning: the generalist was under-trained"
    assert warnings(fine) == []


def test_other_valid_labels_count_as_right(run):
    results = read_results(run)
    answer = (Answer(2, 0.7), Answer(1, 0.2))
    example = ChangedExample(
        row=1, text="a", label=0, source_row=None, valid=(0, 2), generalist=answer,
        ensemble=answer, specialists=(SpecialistAnswer(3, (Answer(None, 0.4),)),),
    )  # fmt: skip
    details = dataclasses.replace(results.details, fixed=Changes(1, (example,)))
    page = render(dataclasses.replace(results, details=details))
    card = page[page.index('class="card"') :].partition("</dl>")[0]
    assert "also right: <bdi>class 2</bdi></span>" in card
    voices = re.findall(r'<dt>([^<]*)</dt><dd><span class="([a-z ]*)"><bdi>([^<]*)<', card)
    assert voices == [
        ("generalist", "right ", "class 2"),
        ("specialist 3", " dustbin", "any other class"),
        ("ensemble", "right ", "class 2"),
    ]


@pytest.mark.parametrize(("value", "shown"), [(0.004, "<1%"), (0.006, "1%"), (0.416, "42%")])
def test_probabilities_are_shown_in_whole_percent(value, shown):
    assert probability(value) == shown


@pytest.mark.parametrize(("metric", "sign"), [("top1", 1), ("nll", -1)])
def test_a_rise_is_good_in_accuracy_and_bad_in_loss(metric, sign):
    rise = Difference(a="a", b="b", metric=metric, value=0.15, interval=(0.1, 0.2), p=0.01)
    assert rise.sign == sign
    assert dataclasses.replace(rise, interval=(-0.1, 0.2)).sign == 0


def test_the_terminal_gets_the_answer_options_pairs_and_commands(run):
    lines = closing_lines(run)
    answer = verdict(read_results(run).comparison)
    assert lines[0] == f"{answer.headline}: {answer.sentences[0]}"
    options = [line for line in lines if line.startswith(("  keep", "  go", "  use", "  deploy"))]
    assert len(options) == 4
    assert [line for line in lines if line.endswith("<- advised")] == [
        next(line for line in lines if line.startswith(f"  {answer.headline.lower()} "))
    ]
    (told,) = (i for i, line in enumerate(lines) if line.startswith("  Specialists tell apart "))
    pairs = [line for line in lines[told + 1 :] if line.startswith("    ")]
    assert len(pairs) == 3
    line = r": of \d+ rows \d+ more right, \d+ confused instead of \d+; "
    line += r"\"example <\d+>.*\" is class \d+$"
    assert all(re.search(line, pair) for pair in pairs)
    assert lines[-4].startswith("To go on")
    assert max(map(len, lines[told:-3])) < 140


def test_the_commands_to_go_on_with_are_those_of_the_run(tmp_path):
    """Whatever a text holds, it is one word of the shell."""
    run = synthetic_run(tmp_path / "a run")
    predict, opened, compare = (shlex.split(line) for line in closing_lines(run)[-3:])
    text, new = read_results(run).example_text, str(run.folder / "new.txt")
    model = ["--model", "generalist_wide"]
    assert text is not None
    assert predict[:5] == ["echo", text, ">", new, "&&"]
    assert predict[5:] == ["specialists", "predict", str(run.folder), new, *model]
    assert opened[-1].endswith(("report.html", run.path("report.html").as_uri()))
    folder = str(tmp_path / "compare-a run")
    config = str(run.config_file)
    assert compare == ["specialists", "compare", config, "--seeds", "3", "--out", folder]


@pytest.mark.parametrize(("kind", "inputs"), [("features", "NEW.npy"), ("images", "NEW.png")])
def test_inputs_of_ones_own_are_named_where_no_text_can_be_shown(tmp_path, kind, inputs):
    run = synthetic_run(tmp_path, kind=kind)
    assert f" {inputs} --model " in closing_lines(run)[-3]
    write_text(run.config_file, '[data]\narrays = "my data.npz"\n')
    run.reread_config()
    command = shlex.split(closing_lines(run)[-3])
    assert command[3].endswith("/my data.npz")
    assert command[-4:] == ["--top", "1", "|", "head"]


def test_a_lost_retention_gives_its_reason(tmp_path):
    skills = {"student_hard_labels": (0.5, 0.25, 90_000, 60_000)}
    run = synthetic_run(tmp_path, skills=skills)
    assert "What the student keeps cannot be said: the ensemble is not" in written(run)
    assert "keeps" not in " ".join(closing_lines(run))


def test_classes_whose_answers_change_most_come_first():
    per_class = {"n": (5, 0, 4, 8), "generalist": (0.2, None, 0.5, 0.5)}
    student = (0.4, None, 0.0, 0.5)
    table = class_table(per_class | {"student": student}, list("abcd"), ["student"])
    assert table.models == ("generalist", "student")
    assert [(row.name, row.n, row.more) for row in table.rows] == [
        ("c", 4, (-2,)),
        ("a", 5, (1,)),
        ("d", 8, (0,)),
    ]
    (count,) = table.counts
    assert count.endswith("the generalist: of 3 classes 1 gain and 1 lose right answers.")
    assert changes_by_class(per_class | {"student": student}, "student") == [1, None, -2, 0]
    alone = class_table(per_class, list("abcd"), [])
    assert [(row.name, row.more) for row in alone.rows] == [("a", ()), ("d", ()), ("c", ())]


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
    assert "Examples: 400 train, 400 validation, 400 test in 300 groups." in page
    assert "both over groups of examples." in page
    untested = [d | {"p": None} for d in evaluation["differences"]]
    page = page_of(run, evaluation | {"n_groups": 5, "differences": untested}, about)
    assert "95% interval, by Student&#39;s t, over 5 groups of test examples." in page
    assert page.count(">5 groups: no test<") == len(untested)
    assert re.search(r"percentage points \(95% interval [^;]*; 5 groups: no test\)", page)


def page_of(run, evaluation, about) -> str:
    write_json(run.folder / "evaluation.json", evaluation)
    write_json(run.path("prepare-data", "dataset.json"), about)
    page = written(run)
    assert _outline(page).stack == []
    assert closing_lines(run)
    return page
