"""The rooms: arrows, sizes, no cycles, nothing read is executed."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room may import from rooms before it. A room is a module or a package of that name.
ORDER = [
    "version",
    "pipelines",
    "escaping",
    "errors",
    "extras",
    "catalogue",
    "json_record",
    "probability",
    "large_tables",
    "compiled_code",
    "covariance",
    "clustering",
    "combination",
    "config",
    "files",
    "shards",
    "runtime",
    "datasets",
    "networks",
    "fused_softmax",
    "losses",
    "calibration",
    "training",
    "predictions",
    "trunk",
    "classifier",
    "cross_fitting",
    "specialist",
    "shared",
    "uncertainty",
    "ensemble",
    "distillation",
    "baselines",
    "feasibility",
    "evaluation",
    "figures",
    "report",
    "predictor",
    "__main__",
]
# Within combination a module or package may import from those before it.
COMBINATION_ORDER = [
    "subset_tables",
    "problem",
    "result",
    "patterns",
    "solvers",
    "kernels",
    "minimiser",
    "pooling",
    "shortlisted",
    "sparse",
    "learned",
]
PIPELINE_ORDER = [
    "terminal",
    "runs",
    "messages",
    "own_clusters_file",
    "users_data",
    "run_settings",
    "stage",
    "stages",
    "context",
    "pieces",
    "kept",
    "prepare_data",
    "classifiers",
    "kept_weights",
    "train_generalist",
    "cluster_classes",
    "trunk_files",
    "shared_specialists",
    "train_specialists",
    "combine_predictions",
    "soft_targets",
    "student_task",
    "student_networks",
    "student_search",
    "distill_student",
    "rivals",
    "baselines",
    "timed_models",
    "finished_run",
    "evaluate_models",
    "write_report",
    "forecast",
    "clean",
    "status_table",
    "compare",
    "options",
    "shipped_notebooks",
    "look_commands",
    "known_predictions",
    "trained_models",
    "held_run",
    "given_rows",
    "given_datasets",
    "estimator_settings",
    "saved_estimator",
    "fitted_models",
    "given_generalist",
    "estimator",
    "teacher_source",
    "distill",
    "examine_student",
    "student_commands",
    "predict",
    "reproduce",
    "__main__",
]
STAGES = {
    *("prepare-data", "train-generalist", "cluster-classes", "train-specialists"),
    *("combine-predictions", "distill-student", "evaluate-models", "write-report"),
}
TOP_LEVEL = {"pyproject.toml", "specialists", "pipelines", "tests", "data", "README.md", "LICENSE"}
UNTRACKED = {"shared", "runs"}
MAX_LINES = 300
MAX_BODY = 40
MAX_UNTYPED = 25
SHARED_NAMES = {"execute", "main", "load"}  # of every stage, of every command; the library's own
FORBIDDEN = re.compile(
    r"pickle\.load\(|weights_only\s*=\s*False|allow_pickle\s*=\s*True|(?<!\.)\b(eval|exec)\("
)

LIBRARY = sorted((ROOT / "specialists").rglob("*.py"))
PIPELINES = sorted(
    path for path in (ROOT / "pipelines").rglob("*.py") if "benchmarks" not in path.parts
)
ALL = LIBRARY + PIPELINES
EVERY = [*ALL, *sorted((ROOT / "pipelines" / "benchmarks").glob("*.py"))]


def name_of(path: Path) -> str:
    """Dotted module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ALL}


def imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, inside functions too, but not for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join((*above, node.module) if node.module else above)
            inner = {f"{module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= inner or {module}
    return {name for name in found if name.split(".")[0] in ("specialists", "pipelines")}


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without the docstring."""
    body = (
        function.body[1:]
        if ast.get_docstring(function) and len(function.body) > 1
        else function.body
    )
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def room(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_imports_only_from_rooms_before_it(path):
    name = name_of(path)
    if name == "specialists":
        return
    assert room(name) in ORDER, f"{name} has no place in ORDER"
    for imported in imports(path):
        assert imported.startswith("specialists."), f"{name} imports {imported}"
        assert ORDER.index(room(imported)) <= ORDER.index(room(name)), f"{name} imports {imported}"


COMBINATION = [path for path in LIBRARY if name_of(path).startswith("specialists.combination.")]


@pytest.mark.parametrize("path", COMBINATION, ids=name_of)
def test_the_combination_imports_only_from_its_parts_before_it(path):
    part = name_of(path).split(".")[2]
    inner = [name.split(".")[2:] for name in imports(path) if ".combination" in name]
    assert all(inner), f"{name_of(path)} imports the package that re-exports it"
    for imported, *_ in inner:
        assert COMBINATION_ORDER.index(imported) <= COMBINATION_ORDER.index(part)


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_the_library_knows_no_run_folder_and_no_stage(path):
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.alias)}
    names |= {node.id for node in nodes if isinstance(node, ast.Name)}
    assert not names & {"Run", "RUN", "COMPARISON", "kind_of"}
    words = [node.value for node in nodes if isinstance(node, ast.Constant)]
    assert not {str(word).split("/")[0] for word in words} & STAGES


def test_pipelines_have_no_name_of_their_own():
    """The command knows them as specialists.pipelines: `pipelines` may be a user's module."""
    by_name = re.compile(r"^ *(import|from) (specialists\.)?pipelines\b", re.MULTILINE)
    files = (ROOT / "pipelines").rglob("*.py")
    assert [file.name for file in files if by_name.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", PIPELINES, ids=name_of)
def test_pipelines_import_one_another_in_order(path):
    others = {room(name) for name in imports(path) if name.startswith("pipelines.")}
    if others:
        own = room(name_of(path))
        allowed = PIPELINE_ORDER[: PIPELINE_ORDER.index(own) + (path.parent.name == own)]
        assert others <= set(allowed)


def test_no_module_imports_itself_by_way_of_others():
    graph = {name: imports(path) & MODULES.keys() - {name} for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for imported in graph[name]:
                visit(imported, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_no_module_is_longer_than_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_no_function_body_is_longer_than_40_lines(path):
    long = {f.name: body_length(f) for f in functions(path) if body_length(f) > MAX_BODY}
    assert long == {}


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_nothing_read_is_executed_and_no_room_is_a_drawer(path):
    assert not FORBIDDEN.search(path.read_text(encoding="utf-8"))
    assert not re.search("util|helper", path.name)


def test_few_dictionaries_are_untyped():
    untyped = re.compile(r"\b(?:dict|Mapping)\[str, Any\]")
    lines = [line for path in EVERY for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(bool(untyped.search(line)) for line in lines) <= MAX_UNTYPED


def test_no_file_name_stands_twice():
    names = Counter(path.name for path in EVERY if not path.name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_public_function_or_class_has_the_name_of_another():
    defined = Counter(
        node.name
        for path in EVERY
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    )
    assert {name for name, count in defined.items() if count > 1} <= SHARED_NAMES


@pytest.mark.parametrize(
    "path",
    [path for path in ALL if path.name == "__init__.py" and path.stat().st_size],
    ids=name_of,
)
def test_init_files_only_re_export(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    lazy = {"__getattr__", "load"} if name_of(path) == "specialists" else set()
    assert {node.name for node in defined} == lazy


def test_the_top_level_holds_its_named_entries_only():
    entries = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert entries - UNTRACKED <= TOP_LEVEL
    assert entries >= TOP_LEVEL - {"data"}


def test_no_committed_file_outside_the_tests_names_shared_data():
    files = [ROOT / "README.md", *ALL, *(ROOT / "pipelines").rglob("*.toml")]
    assert [file.name for file in files if "../shared" in file.read_text(encoding="utf-8")] == []
