"""Clusters that the user brings: as a file of a run, as a table, and in memory."""

import json

import numpy as np
import pandas as pd
import pytest
import small_run
from test_estimator import NEW, X, Y, classifier

from pipelines import stages
from pipelines.own_clusters_file import read_clusters
from specialists.clustering import ClassClusters, clusters_of_subsets
from specialists.errors import ConfigError, DataError, InputError
from specialists.feasibility import check_settings

FAMILIES = [[name for name in small_run.NAMES if name[0] == family] for family in "abcd"]
SUBSETS = tuple(tuple(range(3 * i, 3 * i + 3)) for i in range(4))
PREDICTED = np.random.default_rng(0).dirichlet(np.ones(12), 200)
TABLE = "class\tcluster\n" + "".join(f"{name}\t{name[0]}\n" for name in small_run.NAMES)


def found() -> ClassClusters:
    """As the notebook of clusters makes them."""
    return ClassClusters.from_predictions(PREDICTED, small_run.NAMES, 3)


@pytest.mark.parametrize("kind", ["notebook", "table", "mapping"])
def test_a_run_takes_exactly_the_subsets_of_a_file(kind, tmp_path):
    contents = {
        "notebook": ("clusters.json", json.dumps(found().to_dict())),
        "table": ("clusters.tsv", TABLE),
        "mapping": ("map.json", json.dumps({name: name[0] for name in small_run.NAMES})),
    }
    name, text = contents[kind]
    (tmp_path / name).write_text(text, encoding="utf-8")
    run = small_run.make_run(tmp_path / "run")
    overrides = [f"clusters.file={tmp_path / name}", "clusters.n_clusters="]
    run = small_run.changed_copy(run, tmp_path / "own", *overrides)
    stages.run_stages(run, "cluster-classes")
    made = ClassClusters.from_dict(
        json.loads(run.path("cluster-classes", "clusters.json").read_text())
    )
    assert made.classes == (found().classes if kind == "notebook" else SUBSETS)
    assert made.method == "own"
    assert 0 < made.total_share <= 1
    (tmp_path / name).write_text(TABLE.replace("a0\ta", "a0\tb"), encoding="utf-8")
    assert next(s for s in stages.status(run) if s.name == "cluster-classes").state == "stale"


def test_shares_are_those_of_clusters_that_are_found():
    from specialists.covariance import PredictionCovariance

    covariance = PredictionCovariance(12).update(PREDICTED)
    own = clusters_of_subsets(found().classes, covariance, small_run.NAMES)
    assert own.total_share == pytest.approx(found().total_share)
    assert own.share_of_confusions == pytest.approx(found().share_of_confusions)
    assert own.classes == found().classes
    for wrong in ([], [[]], [range(12)], [[0, 12]], [[-1]]):
        with pytest.raises(InputError):
            clusters_of_subsets(wrong, covariance)


def test_classes_that_one_side_lacks_are_counted(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("name,group\na0,x\na1,x\nzebra,y\na0,y\n", encoding="utf-8")
    subsets, notes = read_clusters(file, small_run.NAMES)
    assert subsets == [[0, 1], [0]]
    assert notes[0] == "classes in clusters that the data lack (1): zebra"
    assert notes[1].startswith("classes in no cluster (10): a2")


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.json", "[1]"), ("c.json", '{"clusters": [1]}'), ("c.tsv", "class\na0\n"), ("c.txt", "a0")],
)
def test_what_holds_no_clusters_is_refused(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        read_clusters(tmp_path / name, small_run.NAMES)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("c.json", "", "no JSON(?s:.*)an empty file"),
        ("c.json", "{", "no JSON(?s:.*)double quotes"),
        ("c.json", "{}", "no clusters in this file"),
        ("c.json", '{"clusters": []}', "no clusters in this file"),
        ("c.tsv", "", "the file is empty"),
        ("c.tsv", "class\tcluster\n", "no clusters in this file"),
    ],
)
def test_a_file_without_clusters_is_the_user_s_and_made_by_no_command(name, text, told, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=told) as error:
        read_clusters(tmp_path / name, small_run.NAMES)
    assert "specialists run" not in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_a_file_of_other_classes_is_refused(tmp_path):
    (tmp_path / "c.json").write_text('{"a0 x": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="no class of the data"):
        read_clusters(tmp_path / "c.json", small_run.NAMES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a0 x": 1}', "no class of the data"),
        ("{", "no JSON"),
        (json.dumps(dict.fromkeys(small_run.NAMES, "all")), "no cluster of some of the classes"),
    ],
)
def test_a_file_that_holds_no_clusters_is_told_before_anything_is_trained(text, told, tmp_path):
    run = small_run.make_run(tmp_path / "run")
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    overrides = [f"clusters.file={tmp_path / 'c.json'}", "clusters.n_clusters="]
    run = small_run.changed_copy(run, tmp_path / "own", *overrides)
    with pytest.raises(InputError, match=told):
        stages.run_stages(run)
    assert run.path("prepare-data", "dataset.json").is_file()
    assert not run.path("train-generalist").exists()


def test_settings_that_find_clusters_are_of_no_use_beside_a_file(tmp_path):
    (tmp_path / "c.tsv").write_text(TABLE, encoding="utf-8")
    run = small_run.make_run(tmp_path / "run")
    changed = small_run.changed_copy(run, tmp_path / "own", f"clusters.file={tmp_path / 'c.tsv'}")
    with pytest.raises(ConfigError, match=r"clusters\.n_clusters"):
        check_settings(changed.config)


@pytest.mark.filterwarnings("ignore::specialists.errors.DataWarning")
@pytest.mark.parametrize(
    "clusters",
    [FAMILIES, {name: name[0] for name in small_run.NAMES}, "object"],
    ids=["lists", "mapping", "object"],
)
def test_an_estimator_takes_clusters_in_memory(clusters, tmp_path):
    given = found() if clusters == "object" else clusters
    model = classifier(clusters=given).fit(X, Y)
    assert model.clusters_.classes == (found().classes if clusters == "object" else SUBSETS)
    assert [s.subset.tolist() for s in model.specialists_] == [*map(list, model.clusters_.classes)]
    model.save(tmp_path / "model")
    import specialists

    assert np.array_equal(specialists.load(tmp_path / "model").predict(NEW), model.predict(NEW))


@pytest.mark.parametrize("clusters", [[["a0", "?"]], 1.5, {"a0": []}])
def test_clusters_that_are_not_understood_are_refused(clusters):
    with pytest.raises(ConfigError, match="clusters is not understood"):
        classifier(clusters=clusters).fit(X, Y)


def test_whole_numbers_as_labels_stand_in_clusters_as_they_are():
    numbers = np.unique(Y, return_inverse=True)[1]
    frame = pd.DataFrame(X)
    model = classifier(clusters=[[0, 1, 2], [9, 11]]).fit(frame.rename(columns=str), numbers)
    assert model.clusters_.classes == ((0, 1, 2), (9, 11))
