"""The page as its readers use it: sorted, searched, in the dark, narrow and on paper."""

import base64
import dataclasses
import hashlib
import html.parser
import re
from pathlib import Path

import pytest
from synthetic_run import synthetic_run, write_choice

import specialists.report.page
from pipelines.finished_run import read_results
from specialists.evaluation.notable_examples import Example
from specialists.evaluation.pair_changes import PairChange, PairChanges
from specialists.evaluation.shared_gains import KindOfRows, SharedGains
from specialists.figures import accuracy_against_cost, to_svg, to_svg_file
from specialists.figures.models import CostPoint
from specialists.figures.style import THEME
from specialists.report import render
from specialists.report.closing import pair_lines
from specialists.report.page import with_commands
from specialists.report.sentences import shared_sentences
from specialists.report.verdict import verdict

TEMPLATES = Path(specialists.report.page.__file__).parents[1] / "templates"
CSS = (TEMPLATES / "report.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read_results(synthetic_run(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def page(results):
    return render(results)


class Tables(html.parser.HTMLParser):
    """Cells in each row of each table, headings first."""

    def __init__(self):
        super().__init__()
        self.tables, self.headings, self.hidden = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
            self.headings.append(0)
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("th", "td"):
            self.tables[-1][-1] += 1
            self.headings[-1] += tag == "th"
        elif tag == "label":
            self.hidden.append("hidden" in dict(attrs))


def tables_of(page) -> Tables:
    found = Tables()
    found.feed(page)
    return found


def test_the_policy_allows_the_page_s_own_script_by_its_hash_and_nothing_else(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "img-src data:"
    )
    assert not re.search(r"<[^>]+\son[a-z]+=", page)
    assert "eval(" not in script


def test_every_table_is_whole_without_a_script_and_its_headings_fit_its_columns(page):
    found = tables_of(page)
    assert len(found.tables) > 6
    for rows in found.tables:
        assert len(set(rows)) == 1
    assert sum(n > 0 for n in found.headings) > 6
    assert "<button" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert found.hidden == [True, True]  # boxes to search in, of no use without a script


def test_the_first_screen_is_the_answer_a_small_table_and_a_picture(page):
    first = page[page.index("<header>") : page.index("<nav>")]
    assert first.count("<table") == first.count("<figure") == 1
    header = re.sub(r"<[^>]*>", " ", first[: first.index("</thead>")])
    assert re.search(r"model +top-1 +95% +interval +size, +weights", header)
    rows = re.findall(r"<tr[^>]*><td>([^<]*)", first)
    assert rows[0] == "generalist"
    assert {"specialists", "a wider generalist", "averaged generalists", "the student"} < set(rows)
    assert first.count('<tr class="advised">') == 1
    assert page.index("<nav>") < page.index('id="why"') < page.index('id="apart"')
    assert page.index('id="apart"') < page.index('id="admission"') < page.index('id="models"')


def test_what_each_option_costs_stands_below_the_answer(page, results):
    table = page[page.index('id="why"') :].partition("</table>")[0]
    for name in ("generalist", "generalist_wide", "ensemble", "student"):
        assert f'<span class="soft">{name}</span>' in table
    gain = results.comparison.gain("generalist_wide").value
    assert f'<td class="n">{100 * gain:+.2f}</td>' in table
    answer = verdict(results.comparison)
    assert len(answer.in_table) == 2
    assert set(answer.in_table) < set(answer.sentences)
    assert not any(told in page for told in answer.in_table)
    assert answer.sentences[2] in page


def test_what_is_wide_scrolls_in_a_box_of_its_own_and_the_page_does_not(page):
    wide = re.findall(r'([^\n]*)<(?:table(?! class="narrow")|svg)', page)
    assert len(wide) > 10
    assert all('<div class="scroll' in before for before in wide)
    assert ".scroll { overflow-x: auto" in CSS
    assert "var(--shade), transparent) 100% 0" in CSS  # a shade on the side where there is more
    assert ".narrow { width: auto; min-width: min(22rem, 100%); }" in CSS


def test_on_a_narrow_screen_each_cell_says_its_column_and_none_is_cut_off(page):
    script = page[page.index("<script>") :]
    assert 'all("main .scroll > table")' in script
    assert "cell.dataset.label = labels[column]" in script
    narrow = CSS[CSS.index("@media screen and (max-width: 640px)") :]
    assert ".stacked tr { display: grid;" in narrow
    assert ".stacked td::before { content: attr(data-label);" in narrow
    assert ".stacked tr[hidden] { display: none; }" in narrow  # the search still works


@pytest.mark.parametrize("scheme", ["dark", "print"])
def test_the_style_sheet_knows_the_dark_and_paper(page, scheme):
    assert CSS in page
    rules = {"dark": "@media screen and (prefers-color-scheme: dark)", "print": "@media print"}
    assert rules[scheme] in CSS


def test_every_colour_of_the_figures_has_another_in_the_dark(page):
    dark = CSS[CSS.index("prefers-color-scheme: dark") :].partition("\n}\n")[0]
    named = set(re.findall(r"var\(--([a-z]+)", " ".join(THEME.values())))
    assert named <= set(re.findall(r"--([a-z]+): #", dark))
    figures = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    assert {"ink", "grey", "faint", "blue"} <= set(re.findall(r"var\(--([a-z]+), #", figures))
    assert not re.search(r"(?:fill|stroke): #(?:000000|ffffff|222222|dddddd)", figures)


def test_a_file_of_its_own_has_fixed_colours():
    points = [CostPoint("generalist", 1e5, 0.5, (0.4, 0.6))]
    assert "var(" in to_svg(accuracy_against_cost(points), "cost")
    assert "var(" not in to_svg_file(accuracy_against_cost(points), "cost")


def test_a_description_keeps_the_colours_that_it_names():
    points = [CostPoint("generalist", 1e5, 0.5, (0.4, 0.6))]
    svg = to_svg(accuracy_against_cost(points), 'a class called "#222222"')
    assert "#222222" in svg.partition("aria-label=")[2].partition(">")[0]


def test_commands_in_a_sentence_are_code_and_the_rest_is_escaped():
    told = with_commands("<b> `run <x>` & so on")
    assert told == "&lt;b&gt; <code>run &lt;x&gt;</code> &amp; so on"


def changed_details(results, **changes):
    return dataclasses.replace(results, details=dataclasses.replace(results.details, **changes))


def test_pairs_that_are_told_apart_are_shown_with_their_examples(results):
    example = Example(row=3, text="a <b> text", label=1, source_row=17)
    pair = PairChange((1, 2), 40, 9, 2, (example,), gain=6)
    page = render(changed_details(results, pairs=PairChanges(1234, 5, (pair,))))
    section = page[page.index('id="apart"') :].partition("</section>")[0]
    assert "1,234 are told apart better by the ensemble" in section
    assert re.findall(r'<td class="n">(\+?\d+)</td>', section) == ["40", "9", "2", "+6"]
    assert "This pair gains most, the largest gain first. A pair's gain counts the rows" in section
    assert '<span class="text" dir="auto">a &lt;b&gt; text</span>' in section
    assert "<small>is <bdi>class 1</bdi></small>" in section
    older = dataclasses.replace(pair, gain=None)
    page = render(changed_details(results, pairs=PairChanges(1234, 5, (older,))))
    assert "A pair's gain" not in page
    assert "gain,<br>rows" not in page
    without = render(changed_details(results, pairs=None))
    assert 'id="apart"' not in without
    assert "#apart" not in without


def test_classes_that_are_symbols_are_told_in_words_in_tables_figures_and_the_terminal(results):
    names = [f"{chr(0x1F600 + j)}" for j in range(len(results.data.class_names))]
    data = dataclasses.replace(results.data, class_names=names)
    clusters = dataclasses.replace(results.clusters, class_names=tuple(names))
    results = dataclasses.replace(results, data=data, clusters=clusters)
    page = render(results)
    for section in ("apart", "clusters", "classes", "examples", "labels"):
        part = page[page.index(f'<h2 id="{section}">') :].partition("</section>")[0]
        bare = re.sub(r"<svg.*?</svg>", "", part, flags=re.S)
        assert re.search(r">[\U0001f600-\U0001f617] [a-z]+ [a-z ]+<", bare.replace("…", "")), (
            section
        )
    assert re.search(r"<text[^>]*>[\U0001f600-\U0001f617] [a-z ]+…?</text>", page)
    face = r"[\U0001f600-\U0001f617] [a-z -]+"
    assert re.search(rf"    {face} and {face}: ", pair_lines(results)[1])


def test_the_terminal_shows_the_text_that_most_can_read(results):
    texts = {1: "\u65e5", 2: "day \n one", 3: "jour"}
    examples = tuple(Example(row=n, text=t, label=n, source_row=None) for n, t in texts.items())
    pair = PairChange((1, 2), 40, 9, 2, examples, gain=6)
    told = pair_lines(changed_details(results, pairs=PairChanges(4, 0, (pair,) * 5)))
    assert told[0].endswith(" 4 pairs of classes better than the generalist. The largest gains:")
    line = "class 1 and class 2: of 40 rows 6 more right, 2 confused instead of 9"
    assert told[1:] == [f'    {line}; "day one" is class 2'] * 3
    bare = PairChanges(4, 0, (dataclasses.replace(pair, examples=()),))
    assert pair_lines(changed_details(results, pairs=bare))[1:] == [f"    {line}"]


KINDS = (
    KindOfRows("the shortlist", True, 300, 0.7, 0.75, (0.01, 0.09)),
    KindOfRows("all classes", False, 100, 0.5, 0.4, (-0.2, -0.01)),
)
SHARED = SharedGains(2, 2, 32.0, False, 0.894, 0.25, KINDS)


def test_shared_specialists_have_a_section_of_their_own(results):
    page = render(changed_details(results, shared=SHARED))
    section = page[page.index('<h2 id="shared">') :].partition("</section>")[0]
    assert "2 shared specialists were trained" in section
    assert "the 32 classes that the generalist finds most probable" in section
    assert "in 89.4% of the test rows" in section
    assert (
        "In 25.0% of the test rows, where the generalist is least sure, the question is" in section
    )
    rows = [re.findall(r"<td[^>]*>([^<]*)<", row) for row in section.split("<tr>")[2:]]
    assert rows == [
        ["the shortlist", "on the shortlist", "300", "75.0%", "70.0%", "75.0%", "+5.00",
         "+1.00 to +9.00"],
        ["all classes", "not on it", "100", "25.0%", "50.0%", "40.0%", "\N{MINUS SIGN}10.00",
         "\N{MINUS SIGN}20.00 to \N{MINUS SIGN}1.00"],
    ]  # fmt: skip
    assert '<td class="n good">+5.00' in section
    assert '<td class="n bad">' in section
    assert "#shared" not in render(results)


def test_rows_that_are_too_few_to_say_anything_are_counted_below_the_table(results):
    few = KindOfRows("nothing", False, 19, 1.0, 1.0, (-1.0, 1.0))
    shared = dataclasses.replace(SHARED, kinds=(*KINDS, few))
    page = render(changed_details(results, shared=shared))
    section = page[page.index('<h2 id="shared">') :].partition("</section>")[0]
    assert section.count("<tr>") == 3
    told = "Left out, since fewer than 20 test rows say nothing: 1 kind of rows (19 rows)."
    assert told in section
    assert told not in render(changed_details(results, shared=SHARED))


def test_the_gain_of_a_cluster_with_few_test_rows_is_not_shown(results):
    one, *others = results.details.per_cluster
    few = dataclasses.replace(one, n_test=19)
    page = render(changed_details(results, per_cluster=(few, *others)))
    assert "say nothing: 1 cluster (19 rows)." in page
    assert "<small>n = 19</small>" not in page
    assert "or too few test rows are of its classes" in page
    assert "too few test rows" not in render(results)


def test_a_number_of_specialists_that_few_rows_have_is_not_drawn(results):
    first, *others = results.evaluation.coverage
    coverage = (first, *others, dataclasses.replace(first, specialists=9, n_test=1))
    evaluation = dataclasses.replace(results.evaluation, coverage=coverage)
    page = render(dataclasses.replace(results, evaluation=evaluation))
    assert "say nothing: 1 number of specialists (1 row)." in page


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n_answering": 0, "kinds": ()}, "None of them may answer."),
        ({"n_answering": 1}, "1 of them answer. In 25.0%"),
        ({"of_clusters": True}, "the classes of the clusters of a row's most probable ones, 32 on"),
        ({"asked_whole": 1.0}, "In 100.0% of the test rows the question is every class."),
        ({"n_trained": 1, "n_answering": 1}, "1 shared specialist was trained"),
    ],
)
def test_shared_specialists_are_told_as_they_are(results, changes, told):
    shared = dataclasses.replace(SHARED, **changes)
    assert told in " ".join(shared_sentences(shared, results.choice.chosen))


def test_a_run_with_shared_specialists_alone_tells_their_admission_once(tmp_path):
    run, reason = synthetic_run(tmp_path, members=()), "on 1,234 rows all is well"
    chosen = {"rule": "kl", "n": None, "members": [], "shared": {"n_members": 2}}
    shared = {"n_rows": 1234, "mean_gain": 0.2034, "n_groups": 1234, "p": 0.0}
    shared |= {"corrected_p": 0.0, "admitted": True}
    write_choice(run, chosen, outcome="admitted", reason=reason, shared=shared)
    page = render(read_results(run))
    assert page.count("admitted as a group") == page.count(reason) == 1
    assert "2 shared specialists are admitted as a group: on 1,234 rows all is well." in page
    assert "0.2034" not in page
    assert 'id="gains"' not in page
    assert 'id="examples"' in page
    assert "no cluster holds" in page  # below the picture of correlations
