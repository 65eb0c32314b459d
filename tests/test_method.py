"""METHOD.md numbers its equations, says where each lives, and is the page that the code cites."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "specialists/METHOD.md").read_text(encoding="utf-8")
NUMBERED = [int(n) for n in re.findall(r"^ {4}.*\((\d+)\)$", TEXT, re.MULTILINE)]
TABLE = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in TEXT.splitlines()
    if line.startswith("| (")
]
CODE = sorted(
    path
    for folder in ("specialists", "pipelines", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
)
CITATION = re.compile(r"METHOD\.md((?:,? (?:and )?\(\d+\))*)")


def numbers(text):
    return [int(n) for n in re.findall(r"\((\d{1,2})\)", text)]


def test_equations_are_numbered_in_order():
    assert list(range(1, len(NUMBERED) + 1)) == NUMBERED


def test_the_table_names_every_equation_once():
    assert [n for equations, *_ in TABLE for n in numbers(equations)] == NUMBERED


@pytest.mark.parametrize(("equations", "module", "test"), TABLE)
def test_the_module_and_the_test_of_an_equation_exist(equations, module, test):
    assert (ROOT / module.strip("`")).is_file()
    file, _, name = test.strip("`").partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_text_refers_to_its_own_equations_only():
    assert set(numbers(TEXT)) <= set(NUMBERED)


def test_every_citation_of_the_method_is_a_numbered_equation():
    cited = {
        path.name: CITATION.findall(" ".join(path.read_text(encoding="utf-8").split()))
        for path in CODE
        if "METHOD.md" in path.read_text(encoding="utf-8")
    }
    assert len(cited) > 10
    for name, citations in cited.items():
        for citation in citations:
            assert numbers(citation), f"{name} cites METHOD.md without an equation"
            assert set(numbers(citation)) <= set(NUMBERED), f"{name} cites {citation}"


def test_no_page_is_cited_that_the_repository_lacks():
    pages = [
        page
        for folder in ("", "data", "specialists", ".github")
        for page in (ROOT / folder).glob("*.md")
    ]
    known = {page.name for page in pages}
    for file in [*CODE, *pages, *(ROOT / "pipelines").rglob("*.toml")]:
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"\b[A-Z]+\.md\b", text)) <= known, file
        assert not re.search(r"\bDESIGN\b|[Dd]esign('s|,) section", text), file
