"""Wrong settings and combinations: one message, exit code 2, no traceback, nothing trained."""

import re
from pathlib import Path

import numpy as np
import pytest
import small_run
from PIL import Image
from typer.testing import CliRunner

from pipelines import stages
from pipelines.__main__ import app
from pipelines.run_settings import check_run, configured
from specialists.clustering import ClassClusters
from specialists.config import Config, shipped_configs
from specialists.config.student import MOST_TRIALS
from specialists.datasets import pictures
from specialists.distillation import HARD_TRIALS
from specialists.errors import ConfigError, ConfigWarning, DataError
from specialists.feasibility import DataShape, check_settings, plan
from specialists.feasibility.objectives import missing_layers
from specialists.files import write_text
from specialists.networks import NetworkSpec
from specialists.runtime import threads

MANY = "1" + 400 * "0"
BRANCHED = "generalist.factory=small_run:branched"
KINDS = {"text": (), "features": (384,), "images": (1, 28, 28)}
KIND_OF = dict.fromkeys(("banking77", "clinc150", "emoji", "few-labels", "languages"), "text")
KIND_OF |= {"onet": "features", "onet64": "features", "glyphs": "images", "omniglot": "images"}

# The base that a setting is added to, the setting, and what the message says.
VALUES = [
    *(
        (f"{key}={value}", key)
        for value in ("inf", "nan", "-inf", "1e999")
        for key in (
            "generalist.learning_rate",
            "generalist.weight_decay",
            "generalist.clip",
            "generalist.dropout",
            "specialists.widen",
            "student.size",
            "clusters.max_ratio",
        )
    ),
    *(
        (f"{key}=nan", key)
        for key in (
            "combination.max_cost",
            "data.validation_fraction",
            "specialists.subset_share",
            "specialists.soft_targets",
            "specialists.temperature",
            "generalist.warmup",
        )
    ),
    ("combination.weights=[1.0, inf]", r"combination\.weights\.1 = inf"),
    ("combination.deferral=[nan]", r"combination\.deferral\.0 = nan"),
    ("student.temperatures=[inf]", r"student\.temperatures\.0 = inf"),
    ("student.alphas=[nan]", r"student\.alphas\.0 = nan"),
    ("seed=4294967296", "less than 4294967296"),
    ("seed=-1", "greater than or equal to 0"),
    (f"seed={MANY}", "seed = 1000"),
    (f"generalist.epochs={MANY}", "generalist.epochs = 1000"),
    (f"generalist.learning_rate={MANY}", "generalist.learning_rate"),
    ("seed=3.0", "seed = 3.0: Input should be a valid integer"),
    ("seed=true", "seed = True: Input should be a valid integer"),
    ("seed='3'", "seed = '3': Input should be a valid integer"),
    ("generalist.learning_rate=true", "valid number"),
    ("generalist.learning_rate='0.1'", "valid number"),
    ("specialists.calibrate=1", "valid boolean"),
    ("data.lowercase='yes'", "valid boolean"),
    ("data.text=3", "valid string, in quotes"),
    ("generalist.depth=101", "less than or equal to 100"),
    ("generalist.width=2147483648", "less than or equal to"),
    ("generalist.n_buckets=4294967296", "less than or equal to"),
    ("data.image_size=5000", "less than or equal to 4096"),
    ("evaluation.n_bootstrap=1000001", "less than or equal to 1000000"),
    ("evaluation.n_bootstrap=0", "greater than or equal to 1"),
    ("data.char_ngrams=[1, 100000]", "less than or equal to 64"),
    ("data.char_ngrams=[0, 3]", r"the shortest length is at least 1"),
    ("threads=100000", "threads = 100000: at most"),
    ("jobs=100000", "jobs = 100000: at most"),
    ("device=''", "this device cannot be used"),
    ("device=meta", "this device cannot be used"),
    ("device=cuda:99", "this device cannot be used"),
    ("device=mps", "this device cannot be used"),
    ("device=xla", "this device cannot be used"),
    ("device=cpu:7", "this device cannot be used"),
    ("precision=float16", "precision = 'float16'"),
]

# The base, settings beside it, what the message says: known from the configuration alone.
ALONE = [
    ("features", ["clusters.coverage=2"], "at most half of the 3 clusters"),
    (
        "features",
        ["clusters.coverage=2", "clusters.n_clusters=", "clusters.method=kmeans"],
        "only clusters.method = 'balanced' bounds",
    ),
    (
        "features",
        ["data.text=title"],
        "data.text = 'title' is of no use: it is for data from table",
    ),
    ("features", ["data.label=code"], "data.label"),
    ("features", ["data.columns=['a', 'b']"], "data.columns"),
    ("features", ["data.split=part"], "data.split = 'part'"),
    ("features", ["data.splits={train = ['a']}"], "data.splits"),
    ("features", ["data.char_ngrams=[1, 3]"], "data.char_ngrams"),
    ("features", ["data.word_ngrams=[1, 2]"], "data.word_ngrams"),
    ("features", ["data.lowercase=true"], "data.lowercase"),
    ("features", ["data.options={a = 1}"], "data.options .* for data from factory only"),
    ("text", ["data.keys={x = 'a'}"], "data.keys .* for data from arrays or factory only"),
    ("text", ["data.split_by={array = 'a', test = [1]}"], "data.split_by"),
    ("text", ["data.standardize=true"], "data.standardize"),
    ("text", ["data.image_size=32"], "data.image_size"),
    ("images", ["data.text=title"], "data.text"),
    ("images", ["data.standardize=false"], "data.standardize"),
    ("glyphs", ["data.min_examples=5"], "data.min_examples"),
    ("glyphs", ["data.validation_fraction=0.2"], "data.validation_fraction"),
    ("languages", ["data.exclude_labels=['de']"], "data.exclude_labels"),
    ("factory", ["data.text=title"], "data.text"),
    ("text", ["data.char_ngrams=[0, 0]", "data.word_ngrams=[0, 0]"], "both off"),
    ("text", ["data.splits={train = ['a'], test = ['a']}"], "splits names 'a' twice"),
    ("numbers", ["data.char_ngrams=[1, 2]"], "it is for text only, and these data are features"),
    ("numbers", ["generalist.n_buckets=8"], "only networks for text have a table"),
    ("text", ["generalist.model=mlp"], "it is for features, and these data are text: hashed_text"),
    ("text", ["generalist.model=resnet"], "it is for images, and these data are text"),
    ("images", ["generalist.model=mlp"], "it is for features, and these data are images: resnet"),
    ("features", ["generalist.model=hashed_text"], "it is for text, and these data are features"),
    ("features", ["generalist.model=transformer"], "'hashed_text', 'mlp' or 'resnet'"),
    ("features", ["generalist.options={a = 1}"], "only a generalist.factory has options"),
    ("images", ["generalist.embedding_dim=8"], "only networks for text have a table"),
    ("images", ["generalist.n_buckets=8"], "only networks for text have a table"),
    ("features", ["generalist.embedding_learning_rate=1.0"], "only networks for text have a table"),
    ("features", ["student.n_buckets=8"], "student.n_buckets"),
    ("features", ["student.embedding_dim=8"], "student.embedding_dim"),
    ("features", ["generalist.n_buckets=1000"], "a power of two"),
    ("features", ["generalist.width=8", "generalist.widths=[8, 9]"], "width fixes the width"),
    ("features", ["generalist.widths=[8, 8]"], "8 is given twice"),
    ("features", [BRANCHED, "generalist.model=mlp"], "generalist.factory builds the network"),
    ("features", [BRANCHED, "generalist.width=8"], "generalist.factory builds the network"),
    ("features", [BRANCHED, "generalist.dropout=0.1"], "generalist.factory builds the network"),
    ("features", [BRANCHED, "specialists.width=8"], "has one width"),
    ("features", [BRANCHED, "specialists.widen=2"], "has one width"),
    ("features", ["generalist.factory=small_run"], "package.module:function is needed"),
    ("features", ["generalist.weights=nowhere.safetensors"], "no such file"),
    ("features", ["generalist.weights=/dev"], "a folder without weights, which are in model"),
    ("features", ["student.unlabelled=nowhere.npz"], "no such file"),
    (
        "features",
        ["generalist.weights=/dev/null", "evaluation.baselines=[]", "generalist.epochs=3"],
        "generalist.epochs = 3 is of no use: generalist.weights are taken as they are",
    ),
    ("features", ["generalist.weights=/dev/null", "generalist.widths=[8, 9]"], "are of one width"),
    ("features", ["specialists.width=8", "specialists.widen=2.0"], "specialists.widen"),
    ("features", ["specialists.n_buckets=8"], "n_buckets needs start = 'fresh'"),
    (
        "features",
        ["specialists.n_buckets=8", "specialists.start=fresh", "specialists.freeze=[]"],
        "specialists.n_buckets = 8 is of no use",
    ),
    ("images", ["specialists.freeze=['stem']"], "freeze needs start = 'generalist' or 'fresh'"),
    ("text", ["specialists.embedding_learning_rate=1.0"], "the table is frozen"),
    ("features", ["specialists.soft_targets=0", "specialists.temperature=2.0"], "of soft targets"),
    ("features", ["specialists.soft_targets=1", "specialists.label_smoothing=0.1"], "of labels"),
    ("features", ["specialists.n_shared=2"], "kind = clusters trains no shared specialists"),
    ("text", ["combination.whole_heads=[0.1]"], "kind = clusters trains no shared specialists"),
    (
        "features",
        ["specialists.kind=shared", "specialists.shortlist_of=clusters", "specialists.shortlist=8"],
        "as long as they are",
    ),
    (
        "features",
        ["specialists.kind=shared", "specialists.shortlist_by=cross-fitted"],
        "only clusters.predictions = cross-fitted trains",
    ),
    ("features", ["clusters.method=kmeans", "clusters.max_ratio=3.0"], "only clusters.method"),
    ("features", ["clusters.method=correlation", "clusters.n_clusters=3"], "finds the number"),
    ("features", ["clusters.method=correlation", "clusters.matrix=confusion"], "both signs"),
    ("features", ["combination.rules=['side_by_side']", "combination.weights=[3.0]"], "weight"),
    ("features", ["combination.rules=['learned']", "combination.deferral=[0.5]"], "every row"),
    (
        "features",
        ["combination.admission=each", "data.admission_fraction=0"],
        "no rows for its test",
    ),
    ("features", ["combination.n=[2, 2]"], "2 is given twice"),
    ("features", ["combination.rules=['kl', 'kl']"], "kl is given twice"),
    ("features", ["student.width=8", "student.size=0.5"], "student.width fixes the width"),
    ("features", ["student.alphas=[1.0]", "student.label_smoothing=0.1"], "it is of labels"),
    ("features", ["student.alphas=[0.0]", "student.teacher=online"], "it is of soft targets"),
    ("features", ["student.views=2", "student.teacher=online"], "asks about every batch"),
    ("features", ["student.views=2", "data.augment=false"], "all views are the same"),
    ("features", ["student.views=2", "student.leave_out=['a']"], "leave_out shows some"),
    ("features", ["student.transfer_set=unlabelled"], "student.unlabelled names no file"),
    ("features", ["student.alphas=[0.7, 0.7]"], "0.7 is given twice"),
    ("features", ["student.terms=[{kind = 'hints'}]"], "did you mean `hint`"),
    ("features", ["student.terms=[{kind = 'hint'}]"], r"terms\.0 \(hint\): `layer` must be given"),
    ("features", ["student.terms=[{kind = 'binary_targets'}]"], "set exclusive = true"),
    ("features", ["student.terms=[{kind = 'labels'}]"], "student.terms says what is minimised"),
    (
        "features",
        ["student.terms=[{kind = 'hint', layer = 'logits'}]"],
        r"terms\.0 \(hint\): layer = 'logits': these are outputs, which logit_matching",
    ),
    ("features", ["student.terms=[{kind = ['labels']}]"], "did you mean `labels`"),
    ("features", ["student.terms=3"], "student.terms = 3"),
    ("features", ["student.terms=['hint']"], r"student\.terms\.0 = 'hint'"),
    ("features", ["student.scheme=mutual", "student.n_taught=1"], "at least 2 peers"),
    ("features", ["student.scheme=exits"], "student.scheme = exits needs one"),
    ("features", ["student.scheme=mutual", "student.teacher=online"], "mutual has no teacher"),
    ("features", ["student.n_taught=3"], "student.scheme = offline trains one network"),
    ("features", ["student.scheme=mutual", "student.exits=['relu1']"], "mutual has none"),
    (
        "features",
        ["student.scheme=mutual", "student.terms=[{kind = 'hint', layer = 'hidden1'}]"],
        "only student.scheme = offline has one",
    ),
    (
        "features",
        ["student.terms=[{kind = 'similarity'}]", "student.targets=top"],
        "the probability of every class; student.targets = top keeps a few",
    ),
    (
        "features",
        [
            "student.terms=[{kind = 'soft_targets'}, {kind='soft_targets', temperature = 2.0}]",
            "student.targets=sampled",
        ],
        "keeps one temperature",
    ),
    (
        "features",
        [
            "student.unlabelled=data.npz",
            "student.transfer_set=unlabelled",
            "student.terms=[{kind = 'labels'}, {kind = 'decoupled'}]",
        ],
        "student.transfer_set = unlabelled: each of student.terms needs labels",
    ),
    ("features", [f"student.temperatures={list(range(1, 29))}"], "more than 27 pairs"),
    (
        "features",
        ["evaluation.baselines=['generalist_wide', 'generalist_wide']"],
        "generalist_wide is given twice",
    ),
    ("features", ["data=3"], "data = 3"),
    ("features", ["data.arrays="], "exactly one source"),
    ("features", ["=3"], "key=value"),
    ("features", ["généralist.epochs=3"], "did you mean `generalist`"),
    ("features", ["data.options=" + 5000 * "["], "data.options"),
]

WITHOUT_GRID = ["student.temperatures=", "student.alphas="]
# The same, but known only when the data are prepared.
WITH_DATA = [
    ("features", ["data.image_size=16"], "it is for images only, and these data are features"),
    ("features", ["generalist.model=resnet"], "it is for images, and these data are features"),
    ("features", ["generalist.width=2000000000"], "GiB of memory to train; this machine has"),
    (
        "features",
        ["generalist.width=", "generalist.widths=[4, 2000000000]"],
        r"\[generalist\].* GiB of memory",
    ),
    ("features", ["generalist.width=1000000", "generalist.depth=50"], "GiB of memory to train"),
    (
        "features",
        [*WITHOUT_GRID, "student.terms=[{kind = 'hint', layer = 'hiden1'}]"],
        "the student has no such layer.*hidden1, relu1.*did you mean `hidden1`",
    ),
    (
        "features",
        [*WITHOUT_GRID, "student.terms=[{kind = 'angles', teacher_layer = 'stage1'}]"],
        "the generalist has no such layer",
    ),
    (
        "features",
        [
            *WITHOUT_GRID,
            "student.terms=[{kind = 'hint', layer = 'hidden1'}]",
            "student.tuning.search={'terms.0.layer' = ['hidden1', 'relu2']}",
        ],
        "the student has no such layer; got: relu2",
    ),
    (
        "features",
        ["student.scheme=exits", "student.exits=['hidden2']"],
        "the student has no such layer",
    ),
    ("features", ["generalist.head_rank=99"], "a head of this rank is not cheaper"),
    ("text", ["generalist.embedding_dim=100000", "generalist.n_buckets=1073741824"], "GiB"),
    ("text", ["generalist.batch_size=2147483647", "generalist.width=2000000000"], "GiB"),
    ("images", ["generalist.width=2000000"], "GiB|overflowed"),
    ("images", ["generalist.batch_size=1", "data.image_size=4"], "no variance"),
    ("features", ["specialists.freeze=['nope']"], "does not exist.* got: nope.* some of hidden1"),
    ("features", ["specialists.freeze=['hidden1', 'head']"], "every part of the network is frozen"),
    ("features", ["specialists.freeze=['hidden1']", "specialists.width=20"], "another width"),
    ("features", ["specialists.widen=0.5", "specialists.start=generalist"], "narrower"),
    ("features", ["specialists.width=4", "specialists.start=generalist"], "narrower"),
    ("features", ["specialists.width=2000000000"], r"\[specialists\].* GiB"),
    (
        "features",
        [BRANCHED, "generalist.width=", "generalist.dropout=", "specialists.freeze=['nope']"],
        "not exist",
    ),
    ("features", ["student.width=2000000000"], r"\[student\].* GiB"),
    ("features", ["student.width=", "student.size=1000", "generalist.width=200000"], "GiB"),
    ("text", ["student.embedding_dim=60000", "student.n_buckets=1073741824"], r"\[student\].* GiB"),
    ("features", ["clusters.n_clusters=13"], "from 2 to 12, the number of classes"),
    ("features", ["clusters.n_clusters=1"], "from 2 to 12, the number of classes"),
    (
        "features",
        ["clusters.coverage=13", "clusters.n_clusters="],
        "coverage = 13: at most 12, the number of classes",
    ),
    (
        "features",
        ["clusters.coverage=2", "clusters.n_clusters=25"],
        "from 2 to 12, the number of classes, times clusters.coverage = 2",
    ),
    (
        "features",
        ["clusters.coverage=2", "clusters.n_clusters=5", "clusters.overlap=6"],
        "of 6 has",
    ),
    ("features", ["clusters.overlap=8"], "a cluster of 4 has to leave out some of the 12 classes"),
    ("features", ["combination.n=[1, 13]"], "at most 12, the number of classes"),
    ("features", ["student.unlabelled=words.tsv"], "not a file of arrays"),
    ("text", ["student.unlabelled=data.npz"], "not a file of texts"),
    ("images", ["student.unlabelled=words.tsv"], "not an image"),
    ("features", ["student.unlabelled=wide.npz"], "features have the wrong shape"),
]

FILES = {
    "deep.toml": b"x = " + 5000 * b"[" + 5000 * b"]",
    "nested.toml": b"[data]\ntable = 'x.tsv'\noptions = " + 60 * b"{a = " + b"1" + 60 * b"}",
    "huge.toml": b"# " + 2_000_000 * b"x",
    "many.toml": b"\n".join(b"k%d = 1" % i for i in range(20_000)),
    "nul.toml": b"seed = 1\0",
    "path.toml": b'[data]\ntable = "a\\u0000b"',
    "twice.toml": b"seed = 1\nseed = 2",
    "binary.toml": bytes(range(256)),
    "digits.toml": b"seed = " + 10_000 * b"1",
    "empty_path.toml": b'[data]\ntable = ""',
    "date.toml": b"[data]\nfactory = 'a:b'\noptions = {day = 2026-01-01}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small data of each kind, and a configuration for each."""
    folder = tmp_path_factory.mktemp("wrong")
    small_run.write_arrays(folder)
    rng = np.random.default_rng(0)
    np.savez(folder / "wide.npz", x=rng.normal(size=(5, small_run.DIM + 1)))
    words = [f"{'abcdef'[i % 6]}{'xyz'[i % 3]}{rng.integers(100)}\t{i % 6}" for i in range(360)]
    write_text(folder / "words.tsv", "text\tlabel\n" + "\n".join(words) + "\n")
    for i in range(60):
        file = folder / "pictures" / "abc"[i % 3] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(255, size=(8, 8), dtype=np.uint8)).save(file)
    sources = {
        "features": {"arrays": "data.npz"},
        "text": {"table": "words.tsv", "text": "text"},
        "numbers": {"table": "words.tsv", "features": "numeric"},
        "images": {"images": "pictures", "min_examples": 2},
        "factory": {"factory": "nowhere:nothing"},
    }
    for name, data in sources.items():
        settings = {**small_run.SETTINGS, "data": data} if name == "features" else {"data": data}
        text = Config.from_dict(settings).to_toml()
        write_text(folder / f"{name}.toml", text)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def refused(folder, tmp_path, monkeypatch):
    """Run; returns the one message, on one line, and how far it came."""
    monkeypatch.chdir(folder)

    def run(config: str, *settings: str) -> tuple[str, list[str]]:
        options = [part for setting in settings for part in ("--set", setting)]
        done = CliRunner().invoke(app, ["run", config, "--out", str(tmp_path / "run"), *options])
        assert isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == 2
        lines = done.output.splitlines()
        assert [line.startswith("error: ") for line in lines].count(True) == 1
        message = done.output[done.output.index("error: ") :]
        return " ".join(message.split()), sorted(path.name for path in tmp_path.glob("run/*"))

    return run


@pytest.mark.parametrize(("setting", "message"), VALUES)
def test_a_value_that_makes_no_sense_is_told_before_anything_is_written(refused, setting, message):
    told, made = refused("features.toml", setting)
    assert re.search(message, told)
    assert made == []


@pytest.mark.parametrize(("base", "settings", "message"), ALONE)
def test_what_the_configuration_alone_tells_is_told_before_anything_is_written(
    refused, base, settings, message
):
    told, made = refused(base if base in shipped_configs() else f"{base}.toml", *settings)
    assert re.search(message, told)
    assert made == []


@pytest.mark.parametrize(("base", "settings", "message"), WITH_DATA)
def test_what_the_data_tell_is_told_before_anything_is_trained(refused, base, settings, message):
    told, made = refused(f"{base}.toml", *settings)
    assert re.search(message, told)
    assert "train-generalist" not in made
    assert "prepare-data" in made


@pytest.mark.parametrize(("layer", "missing"), [("stem", False), ("hidden1", True)])
def test_layers_of_a_student_of_a_factory_are_those_of_its_network(layer, missing):
    hint = {"kind": "hint", "layer": layer, "teacher_layer": "hidden1"}
    student = {"factory": "small_run:branched", "options": {"width": 4}, "terms": [hint]}
    config = Config.from_dict({"data": {"arrays": "data.npz"}, "student": student})
    generalist = NetworkSpec("mlp", small_run.N_CLASSES, (small_run.DIM,), width=8)
    told = list(missing_layers(config, generalist, "features"))
    assert [line.startswith("the student has no such layer") for line in told] == [True] * missing


def test_clusters_that_prepared_data_cannot_have_leave_the_run_as_it_is(tmp_path):
    run = small_run.make_run(tmp_path / "run")
    stages.run_stages(run, "prepare-data")
    before = run.config_file.read_text(encoding="utf-8")
    impossible = Config.from_toml(run.config_file, ["clusters.coverage=13", "clusters.n_clusters="])
    with (
        pytest.raises(ConfigError, match="coverage = 13: at most 12"),
        configured(run.folder, impossible, None),
    ):
        pass
    assert run.config_file.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("config", [*FILES, ".", "pictures", "/dev/zero", 3000 * "x", "a\0b"])
def test_what_is_no_configuration_is_told_in_one_message(refused, config):
    told, made = refused(config)
    assert len(told) < 5000
    assert made == []


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_configuration_fits_the_data_that_it_is_for(name, tmp_path):
    config = Config.from_toml(name)
    write_text(tmp_path / "config.toml", config.to_toml())
    data = DataShape(KIND_OF[name], 200, 20_000, 2_000, KINDS[KIND_OF[name]])
    for given in (config, Config.from_toml(tmp_path / "config.toml")):
        check_settings(given)
        check_settings(given, data)


@pytest.mark.parametrize(
    ("name", "source", "gone"),
    [
        ("omniglot", "data.images=pictures", ["data.keys", "data.split_by"]),
        ("onet", "data.table=x.tsv", []),
        ("banking77", "data.arrays=x.npz", ["data.columns", "data.split", "generalist.n_buckets"]),
        ("languages", "data.name=glyphs", ["data.char_ngrams", "specialists.n_buckets"]),
    ],
)
def test_settings_of_a_source_that_is_replaced_go_with_it_and_are_named(name, source, gone):
    if gone:
        with pytest.warns(ConfigWarning, match=f"{source.partition('=')[0]} replaces") as told:
            config = Config.from_toml(name, [source])
        assert all(key in str(told[0].message) for key in gone)
    else:
        config = Config.from_toml(name, [source])
    check_settings(config)
    assert config.clusters == Config.from_toml(name).clusters


def test_what_is_given_for_a_source_that_does_not_read_it_is_no_leftover():
    with pytest.warns(ConfigWarning, match="data.split_by"):
        config = Config.from_toml("omniglot", ["data.images=x", "data.keys={x = 'a'}"])
    with pytest.raises(ConfigError, match=r"data\.keys = {'x': 'a'} is of no use"):
        check_settings(config)


def test_the_same_kind_of_source_keeps_its_settings():
    config = Config.from_toml("banking77", ["data.table=mine.tsv.gz"])
    assert (config.data.text, config.data.split) == ("text", "split")


def test_all_mistakes_of_a_plan_are_told_at_once():
    settings = {"clusters": {"n_clusters": 99}, "combination": {"n": [50]}, "threads": 10**6}
    config = Config.from_dict({"data": {"arrays": "x"}, **settings})
    with pytest.raises(ConfigError, match="3 mistakes"):
        check_settings(config, DataShape("features", 12, 100, 100, (6,)))


def test_memory_is_that_of_weights_gradients_moments_and_activations(monkeypatch):
    generalist = {"width": 40, "batch_size": 10}
    config = Config.from_dict({"data": {"arrays": "x"}, "generalist": generalist})
    data = DataShape("features", 12, 100, 100, (6,))
    parameters = 6 * 40 + 40 + 40 * 12 + 12
    needed = 20 * parameters + 4 * 10 * (40 + 40 + 40 + 12)
    for there, is_told in ((needed, False), (needed - 1, True)):
        monkeypatch.setattr(plan, "memory", lambda there=there: there)
        lines = "".join(plan.impossible_networks(config.resolve("features"), data))
        assert (f"[generalist] (width 40, depth 1, batches of 10: {parameters}" in lines) == is_told


def test_images_larger_than_the_memory_are_refused_with_figures(monkeypatch):
    monkeypatch.setattr(pictures, "memory", lambda: 2**30)
    with pytest.raises(DataError, match=r"2 images of 40000 x 40000 pixels: 3\.0 GiB"):
        pictures.check_memory(2, 1, (40_000, 40_000))
    blank = np.zeros((9, 4, 4), dtype=np.uint8)
    with pytest.raises(DataError, match="larger than this machine's memory"):
        pictures.fit_images(blank, 1, (40_000, 40_000))
    with pytest.raises(DataError, match="larger than this machine's memory"):
        pictures.read_pictures([Path("x.png")] * 9, (40_000, 40_000), 1)


def test_a_setting_that_cannot_work_leaves_older_results_alone(tmp_path):
    run = small_run.make_run(tmp_path / "run")
    stages.run_stages(run, "train-generalist")
    before = small_run.all_but_times(run.path("train-generalist"))
    wrong = ("generalist.epochs=1", "clusters.n_clusters=13")
    text = Config.from_toml(run.config_file, wrong).to_toml()
    write_text(run.config_file, text)
    run.reread_config()
    with pytest.raises(ConfigError, match="n_clusters = 13"):
        stages.run_stages(run)
    assert small_run.all_but_times(run.path("train-generalist")) == before


def test_unlabelled_inputs_are_read_before_training_but_not_to_measure(folder, tmp_path):
    run = small_run.make_run(tmp_path / "run")
    stages.run_stages(run, "prepare-data")
    more = f"student.unlabelled={folder / 'wide.npz'}"
    write_text(run.config_file, Config.from_toml(run.config_file, [more]).to_toml())
    run.reread_config()
    check_run(run, unlabelled=False)
    with pytest.raises(DataError, match="features have the wrong shape"):
        check_run(run)


def test_seeds_of_a_comparison_beyond_the_last_are_told_before_the_first(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(folder)
    last = 2**32 - 1
    arguments = [
        "compare",
        "features.toml",
        "--out",
        str(tmp_path / "run"),
        "--set",
        f"seed={last}",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "seed = 4294967297" in done.output
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_finds_clusters():
    probs = np.random.default_rng(0).dirichlet(np.ones(12), size=60)
    clusters = ClassClusters.from_predictions(probs, n_clusters=3, seed=2**32 - 1)
    assert clusters.n_clusters == 3


def test_too_many_threads_are_refused_wherever_they_come_from():
    with pytest.raises(ConfigError, match="too many threads"):
        threads(100_000)


def test_more_processes_than_make_sense_are_refused(tmp_path):
    arguments = ["run", "--out", str(tmp_path / "run"), "--jobs", "100000"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "less than or equal to" in done.output


def test_hard_labels_have_as_many_trials_as_soft_ones_may_have():
    assert len(HARD_TRIALS) == MOST_TRIALS


@pytest.mark.parametrize("text", ["del \x7f", "😀", "\x80", "tab\t", 'a"b\\c'])
def test_strange_characters_survive_a_written_configuration(text, tmp_path):
    values = {"factory": "a:b", "options": {text: text}}
    config = Config.from_dict({"data": values})
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert Config.from_toml(tmp_path / "config.toml") == config
