"""What goes wrong around a classifier of a program: forks, scripts, networks, clusters."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import check_random_state
from test_estimator import FREE, HERE, NEW, SETTINGS, TRUTH, X, Y, classifier, network
from torch import nn

import specialists
from pipelines.estimator_settings import config_of, own_clusters
from specialists.clustering import ClassClusters
from specialists.errors import ConfigError, InputError

NAMES = ["car", "cat", "dog", "van"]
CLASSES = np.array(NAMES)
BY_KIND = {"car": "vehicle", "cat": "animal", "dog": "animal", "van": "vehicle"}
OTHERS = ClassClusters.from_predictions(np.full((9, 4), 0.25), list("wxyz"), 2)
PROBS = np.full((len(X), 12), 1 / 12)
MISSING = np.where(np.arange(12) == 3, np.nan, PROBS)
GIVEN = {k: v for k, v in SETTINGS.items() if not k.startswith("generalist.")}
TWO_JOBS = {**SETTINGS, "jobs": 2}
SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
from test_estimator import X, Y, classifier
from test_estimator_faults import TWO_JOBS
print("as", __name__, flush=True)
{guard}
    changes = dict(settings=TWO_JOBS) if sys.argv[1] == "settings" else dict(n_jobs=2)
    try:
        classifier(**changes).fit(X, Y)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("fitted", flush=True)
"""
USERS_OWN = """
import multiprocessing
from specialists.errors import InputError
from specialists.runtime import map_processes
def task(): pass
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=task)
    worker.start()
    worker.join()
else:
    try:
        map_processes(abs, [1, 2], jobs=2)
    except InputError as error:
        print(error)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("ends", ["sys.exit()", "del fitted"])
def test_a_forked_child_leaves_the_folder_to_its_parent(ends):
    code = f"""
import os, sys
from test_estimator import NEW, X, Y, classifier
fitted = classifier().fit(X, Y)
folder = fitted._held.folder
child = os.fork()
if not child:
    {ends}
    sys.exit()
os.waitpid(child, 0)
print(len(fitted.predict(NEW)), folder)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, done.stderr
    n_rows, folder = done.stdout.split()
    assert int(n_rows) == len(NEW)
    assert not os.path.exists(folder)  # its maker did remove it


def test_a_damaged_file_of_a_classifier_is_made_again_by_its_fit():
    fitted = classifier().fit(X, Y)
    for file in fitted._held.folder.glob("train-generalist/**/*.json"):
        file.write_text("{")
    with pytest.raises(InputError, match="`fit`"):
        fitted.predict(NEW)


def test_a_classifier_whose_folder_is_gone_says_so(tmp_path):
    fitted = classifier().fit(X, Y)
    shutil.rmtree(fitted._held.folder)
    for use in (lambda: fitted.predict(NEW), lambda: fitted.report(tmp_path / "report")):
        with pytest.raises(InputError, match="folder of this fitted classifier is gone"):
            use()
    with pytest.raises(InputError, match="folder of this fitted classifier is gone"):
        pickle.dumps(fitted)
    with pytest.raises(InputError, match="folder of this fitted classifier is gone"):
        fitted.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("by", ["n_jobs", "settings"])
def test_a_script_without_a_guard_is_told_so_once(by, tmp_path):
    done = run_script(SCRIPT.format(guard="if True:"), tmp_path, by)
    told = done.stdout + done.stderr
    assert told.count("InputError worker processes import the main script") == 1
    assert 'if __name__ == "__main__":' in told
    assert "n_jobs=1" in told
    assert "Traceback" not in told
    assert "bootstrapping" not in told


def test_a_script_with_a_guard_trains_in_processes(tmp_path):
    done = run_script(SCRIPT.format(guard='if __name__ == "__main__":'), tmp_path, "n_jobs")
    assert done.stdout.count("fitted") == 1, done.stderr
    assert "as __mp_main__" in done.stdout


def test_a_worker_of_somebody_else_is_told_that_the_script_lacks_a_guard(tmp_path):
    done = run_script(USERS_OWN, tmp_path)
    assert "worker processes import the main script" in done.stdout, done.stderr


def run_script(code: str, folder, *arguments: str) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(code)
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, str(folder / "script.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"network": nn.Linear(6, 4)}, "network"),
        ({"settings": {**SETTINGS, "student.factory": nn.Linear(6, 4)}}, "student.factory"),
    ],
)
def test_a_network_that_is_built_already_is_refused(changes, where):
    with pytest.raises(ConfigError, match="lambda n_classes") as told:
        classifier(**changes).fit(X, Y)
    assert where in str(told.value)
    assert "an instance of Linear" in str(told.value)


@pytest.mark.parametrize("given", [BY_KIND, pd.Series(BY_KIND)], ids=["mapping", "Series"])
def test_a_hierarchy_of_classes_gives_the_clusters(given):
    assert own_clusters(given, CLASSES, NAMES) == [["car", "van"], ["cat", "dog"]]


def test_a_series_of_numbers_by_number_gives_the_clusters():
    given = pd.Series([1, 0, 1, 0], index=[10, 20, 30, 40])
    classes = np.array([10, 20, 30, 40])
    assert own_clusters(given, classes, ["a", "b", "c", "d"]) == [["a", "c"], ["b", "d"]]
    assert own_clusters([["a", 20], ["c"]], classes, ["a", "b", "c", "d"]) == [["a", "b"], ["c"]]


def test_a_series_makes_the_specialists_of_a_fit():
    names = np.unique(Y).tolist()
    given = pd.Series({name: index % 2 for index, name in enumerate(names)})
    made = classifier(clusters=given).fit(X, Y).clusters_
    assert {made.names(i) for i in range(2)} == {tuple(names[::2]), tuple(names[1::2])}


@pytest.mark.parametrize("number", [2, np.int64(2), np.uint8(2)], ids=repr)
def test_the_number_of_clusters_may_be_numpy_s(number):
    assert config_of(classifier(clusters=number), check_random_state).clusters.n_clusters == 2
    assert own_clusters(number, CLASSES, NAMES) is None


@pytest.mark.parametrize(
    "given",
    [np.array([0, 1, 1, 0]), np.array(2.0), pd.DataFrame({"class": CLASSES}), pd.Index(CLASSES)],
    ids=["array", "array of no dimension", "DataFrame", "Index"],
)
def test_arrays_and_data_frames_are_no_clusters(given):
    with pytest.raises(ConfigError, match="clusters is not understood") as told:
        classifier(clusters=given).fit(X, Y)
    assert type(given).__name__ in str(told.value)
    assert "mapping or Series of class to cluster" in str(told.value)


def test_a_word_and_a_class_without_a_cluster_are_told():
    with pytest.raises(ConfigError, match="got: 'many'"):
        own_clusters("many", CLASSES, NAMES)
    with pytest.raises(ConfigError, match="no cluster for class dog"):
        own_clusters(pd.Series({"cat": 1.0, "dog": np.nan}), CLASSES, NAMES)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clusters": []}, "where: clusters\n  got: no class"),
        ({"clusters": OTHERS}, "where: clusters\n  got: classes that y does not hold: w, z"),
        ({"clusters": [np.unique(Y)]}, "a cluster of all 12 classes"),
        ({"clusters": 100}, "clusters = 100: from 2 to 12"),
        (
            {"clusters": [["a0", "a1"]], "settings": {"clusters.n_clusters": 2}},
            "use: clusters= says",
        ),
        ({"network": lambda n_classes: 3, "settings": FREE}, "where: network\n  got: int"),
        ({"network": lambda n: 3, "settings": FREE}, "expected: network(n)"),
        ({"network": "nothing:here", "settings": FREE}, "where: network=\n"),
        ({"settings": {"student.factory": lambda n_classes: 3}}, "settings, student.factory"),
        ({"settings": {"seed": -1}}, "where: settings\n"),
        ({"settings": GIVEN, "generalist": lambda x: MISSING}, "where: generalist=, row 0"),
    ],
)
def test_a_message_names_what_the_program_gave(changes, told):
    with pytest.raises(InputError) as error:
        classifier(**changes).fit(X, Y)
    assert told in str(error.value)
    for private in (
        "/specialists-",
        "given-clusters",
        "in_memory",
        "--set",
        "configuration\n  got",
    ):
        assert private not in str(error.value)


@pytest.mark.filterwarnings("ignore::specialists.errors.DataWarning")
def test_a_generalist_that_fails_in_prediction_is_named():
    asked = classifier(settings=GIVEN, generalist=lambda x: PROBS[: len(x)])
    fitted = asked.fit(X, np.roll(Y, 1)).set_params(generalist=lambda x: MISSING[: len(x)])
    with pytest.raises(InputError, match="where: generalist=, row 0"):
        fitted.predict(NEW)
    with pytest.raises(InputError, match="where: generalist_probs, row 0"):
        fitted.predict(NEW, MISSING[: len(NEW)])


def test_a_loaded_classifier_names_the_folder_that_it_was_loaded_from(tmp_path):
    settings = {**FREE, "specialists.start": "generalist"}
    classifier(network=network, settings=settings).fit(X, Y).save(tmp_path / "model")
    loaded = pickle.loads(pickle.dumps(specialists.load(tmp_path / "model")))
    with pytest.raises(InputError) as error:
        loaded.predict(NEW)
    assert f"where: {tmp_path / 'model' / 'train-generalist' / 'model.json'}" in str(error.value)


@pytest.mark.parametrize(
    ("probs", "more", "told"),
    [
        (MISSING, {}, "1 of 12 numbers missing"),
        (PROBS, {"validation_data": (NEW, TRUTH)}, "of X alone, beside validation_data"),
        (pd.DataFrame(PROBS), {"validation_data": (NEW, TRUTH)}, "one DataFrame"),
        ((PROBS, PROBS[:9]), {}, "but no validation_data"),
    ],
)
def test_probabilities_that_cannot_be_used_are_told(probs, more, told):
    with pytest.raises(InputError) as error:
        classifier(settings=GIVEN).fit(X, Y, generalist_probs=probs, **more)
    assert told in str(error.value)
    assert "where: generalist_probs" in str(error.value)
    assert "softmax" not in str(error.value)
