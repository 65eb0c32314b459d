"""Networks of a user's own through the whole pipeline, whatever they take and return."""

import shutil
from dataclasses import replace

import numpy as np
import own_networks
import pytest
import small_run
import torch

import specialists
from pipelines.context import RunContext
from pipelines.distill import distill
from pipelines.runs import Run
from pipelines.stages import run_stages
from pipelines.teacher_source import TeacherSource
from pipelines.train_specialists import load_specialists
from specialists import SpecialistClassifier
from specialists.config import Config
from specialists.errors import ConfigError, InputError
from specialists.feasibility import DataShape, check_settings
from specialists.feasibility.plan import impossible_networks
from specialists.feasibility.trainings import planned_trainings
from specialists.files import EVERYTHING, check_networks, read_array, read_json, trusting
from specialists.networks import NetworkSpec, build_for, load_network, read_spec
from specialists.shared import shared_network

TOKENS = {"tensors": ["input_ids", "attention_mask"]}


def settings(**changes) -> dict:
    """The small run's, without what only networks that ship have."""
    values = {**small_run.SETTINGS, **changes}
    own = {"factory": "own_networks:tokens", "epochs": 6}
    values["generalist"] = {**values["generalist"], **own}
    for key in ("width", "depth", "dropout"):
        values["generalist"].pop(key, None)
    values["student"] = {k: v for k, v in values["student"].items() if k != "width"}
    return values


def token_run(folder, **changes) -> Run:
    arrays = own_networks.write_tokens(folder.parent / "tokens.npz")
    data = {"arrays": str(arrays), **TOKENS}
    run = small_run.create_run(folder, Config.from_dict(settings(data=data, **changes)))
    return Run(run.folder, trust=EVERYTHING)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    run = token_run(tmp_path_factory.mktemp("tokens") / "run")
    with run.lock():
        run_stages(run)
    return run


def test_token_ids_by_name_go_through_every_stage(finished):
    models = read_json(finished.folder / "evaluation.json")["models"]
    assert models["generalist"]["top1"] > 0.4
    assert models["generalist"]["inference_flops"] == 2 * 16 * own_networks.N_CLASSES
    times = read_json(finished.path("evaluate-models", "timing-inference.json"))
    assert times.get("not_timed", {}) == {}
    assert {"generalist", "ensemble", "student"} <= times["models"].keys()
    stored = read_array(finished.path("prepare-data", "test.inputs.npy"))
    assert stored.dtype["input_ids"].subdtype == (np.dtype(np.int64), (own_networks.LENGTH,))


@pytest.mark.parametrize("model", ["generalist", "ensemble", "student"])
def test_models_of_token_ids_predict_new_rows(finished, model):
    x, _ = own_networks.token_rows(10, 2)
    predictor = specialists.load(finished.folder, model, trust_code=True)
    probs = predictor.predict_proba(x)
    if model == "ensemble":
        stored = read_array(finished.path("combine-predictions", "test.ensemble.npy"))
        np.testing.assert_allclose(probs, np.exp(stored), atol=1e-6)
    tensors = {key: torch.from_numpy(value) for key, value in x.items()}
    np.testing.assert_array_equal(predictor.predict_proba(tensors), probs)


def test_an_estimator_takes_arrays_by_name():
    x, y = own_networks.token_rows(30, 1)
    short = {"generalist.epochs": 8, "generalist.learning_rate": 0.05, "specialists.epochs": 1}
    held_out = own_networks.token_rows(10, 2)
    classifier = SpecialistClassifier(own_networks.tokens, random_state=0, settings=short)
    classifier.fit(x, y, validation_data=held_out)
    assert classifier.predict_proba(x).shape == (360, 12)
    assert (classifier.predict(held_out[0]) == held_out[1]).mean() > 0.4


def own_run(folder, generalist: dict, **changes) -> Run:
    """The small run with networks of the user's own, up to the student."""
    arrays = small_run.write_arrays(folder.parent / "data")
    values = settings(data={"arrays": str(arrays), "augment": False}, **changes)
    values["generalist"] = {**values["generalist"], "epochs": 3, **generalist}
    if "factory" not in generalist:
        del values["generalist"]["factory"]
    made = small_run.create_run(folder, Config.from_dict(values))
    run = Run(made.folder, trust=EVERYTHING)
    with run.lock():
        run_stages(run, "distill-student")
    return run


def own(section: str, factory: str, **options) -> dict:
    values = {k: v for k, v in small_run.SETTINGS[section].items() if k not in OF_SHIPPED}
    return {**values, "factory": factory, "options": options}


OF_SHIPPED = ("width", "dropout", "start", "depth")


@pytest.fixture(scope="module")
def cosines(tmp_path_factory) -> Run:
    """Cosine heads throughout; specialists start from their generalist."""
    given = {"factory": "own_networks:cosine", "options": {"factor": 3.0}}
    student = own("student", "own_networks:cosine", factor=1.5)
    specialist = {**small_run.SETTINGS["specialists"], "dropout": None}
    folder = tmp_path_factory.mktemp("cosines") / "run"
    return own_run(folder, given, student=student, specialists=specialist)


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Run:
    """A generalist that ships, specialists and student of factories."""
    changes = {
        "specialists": own("specialists", "own_networks:cosine", factor=4.0),
        "student": own("student", "small_run:branched", width=5),
    }
    return own_run(tmp_path_factory.mktemp("others") / "run", {"width": 12}, **changes)


def test_cosine_heads_are_kept_in_specialists_and_student(cosines):
    with trusting(EVERYTHING):
        experts = load_specialists(RunContext.open(cosines.folder))
        network, spec, _ = load_network(cosines.path("distill-student", "student"))
    for specialist in experts:
        head = specialist.network.get_submodule("2")
        assert isinstance(head, own_networks.CosineHead)
        assert (head.factor, head.out_features) == (3.0, len(specialist.subset) + 1)
        bound = 3.0 * head.scale.item() + 1e-3
        outputs = specialist.network(100 * torch.randn(50, small_run.DIM))
        assert outputs.abs().max().item() <= bound
    assert spec.options == {"factor": 1.5}
    head = network.get_submodule("2")
    assert isinstance(head, own_networks.CosineHead)
    assert head.factor == 1.5


def test_specialists_of_a_factory_have_a_network_over_their_classes(others):
    with trusting(EVERYTHING):
        experts = load_specialists(RunContext.open(others.folder))
        spec = read_spec(others.path("distill-student", "student"))
    for specialist in experts:
        head = specialist.network.get_submodule("2")
        assert isinstance(head, own_networks.CosineHead)
        assert (head.factor, head.out_features) == (4.0, len(specialist.subset) + 1)
    assert (spec.model, dict(spec.options)) == ("small_run:branched", {"width": 5})


@pytest.mark.parametrize("name", ["cosines", "others"])
def test_what_factories_built_predicts_where_somebody_vouches_for_them(name, request, tmp_path):
    run, x = request.getfixturevalue(name), small_run.features(10, 4)[0]
    stored = read_array(run.path("combine-predictions", "test.ensemble_all.npy"))
    assert np.isfinite(stored).all()
    copied = shutil.copytree(run.folder, tmp_path / "copied")
    for model in ("ensemble", "student"):
        with pytest.raises(InputError, match="nobody vouches"):
            specialists.load(copied, model)
        theirs = specialists.load(copied, model, trust_code=True).predict_proba(x)
        own = specialists.load(run.folder, model, trust_code=True).predict_proba(x)
        np.testing.assert_array_equal(theirs, own)


def test_a_run_with_factories_goes_on_where_it_stopped(others, tmp_path):
    copied = shutil.copytree(others.folder, tmp_path / "run")
    expected = small_run.all_but_times(copied)
    for name in ("train-specialists", "distill-student"):
        (copied / name / "manifest.json").unlink()
    shutil.rmtree(copied / "train-specialists" / "specialist-001")
    shutil.rmtree(copied / "distill-student" / "trials" / "soft-0")
    run = Run(copied, trust=EVERYTHING)
    with run.lock():
        run_stages(run, "distill-student")
    assert small_run.all_but_times(copied) == expected


def test_another_student_s_factory_trains_no_specialist_again(others, tmp_path, capsys):
    changed = "student.options={width = 6}"
    run = small_run.changed_copy(others, tmp_path / "run", changed)
    run.trust |= EVERYTHING
    with run.lock():
        run_stages(run, "distill-student")
    assert "train-specialists: starts" not in capsys.readouterr().out
    with trusting(EVERYTHING):
        assert read_spec(run.path("distill-student", "student")).options == {"width": 6}


@pytest.mark.parametrize("section", ["generalist", "specialists", "student"])
def test_no_stranger_s_factory_is_called(section, tmp_path):
    data = {"arrays": str(small_run.write_arrays(tmp_path / "data"))}
    config = Config.from_dict({"data": data, section: {"factory": "own_networks:cosine"}})
    with pytest.raises(InputError, match=r"nobody vouches(?s:.*)own_networks:cosine"):
        check_networks(config, tmp_path / "config.toml")
    run = small_run.create_run(tmp_path / "run", config)
    with run.lock(), pytest.raises(InputError, match="nobody vouches"):
        run_stages(run, "train-generalist")
    assert not list(run.folder.glob("**/metrics.jsonl"))


def test_a_student_of_a_factory_learns_from_another_run(others, tmp_path):
    config = Config.from_toml(others.config_file, ["data.admission_fraction=0"])
    made = small_run.create_run(tmp_path / "distilled", config)
    run = Run(made.folder, trust=EVERYTHING)
    with run.lock():
        folder = distill(run, [TeacherSource(others.folder, "generalist", trust_code=True)])
    with trusting(EVERYTHING):
        assert read_spec(folder).model == "small_run:branched"


def test_a_network_that_goes_on_after_its_head_is_refused_before_it_is_trained(tmp_path):
    with pytest.raises(InputError, match="log-softmax of the outputs of 'head'"):
        own_run(tmp_path / "run", {"factory": "own_networks:tempered"})
    assert not list((tmp_path / "run").glob("**/metrics.jsonl"))


def test_a_factory_s_wrong_number_of_outputs_is_told_before_anything_is_trained(tmp_path):
    told = (
        r"(?s)wrong number of outputs.*own_networks:pair.*2 outputs.*12, as its argument n_classes"
    )
    with pytest.raises(InputError, match=told):
        own_run(tmp_path / "run", {"width": 12}, student=own("student", "own_networks:pair"))
    assert not list((tmp_path / "run").glob("**/metrics.jsonl"))


def test_factories_are_tried_on_the_rows_that_they_are_trained_on():
    """Of texts and tensors no shape tells what they would see."""
    inputs, spec = torch.zeros(9, 6), NetworkSpec("own_networks:pair", 3, (6,))
    with pytest.raises(InputError, match=r"(?s)own_networks:pair.*2 outputs.*3, as"):
        build_for(spec, inputs)
    fits = build_for(replace(spec, n_classes=2), inputs)
    assert fits.training
    assert all(module.training for module in fits.modules())
    assert build_for(replace(spec, n_classes=3), None)[0].in_features == 6  # type: ignore[index]


def test_an_estimator_takes_callables_for_specialists_and_student(tmp_path):
    x, names = small_run.features(30, 2)
    short = {"generalist.epochs": 3, "specialists.epochs": 1, "student": {"epochs": 1}}
    short["student"]["factory"] = lambda n_classes: own_networks.cosine(n_classes, factor=1.0)
    short["specialists.factory"] = own_networks.cosine
    classifier = SpecialistClassifier(random_state=0, settings=short)
    classifier.fit(x, names, validation_data=small_run.features(10, 3))
    heads = [specialist.network.get_submodule("2") for specialist in classifier.specialists_]
    assert all(isinstance(head, own_networks.CosineHead) for head in heads)
    assert classifier.student_.predict_proba(x).shape == (360, 12)
    with pytest.raises(InputError, match="cannot hold this network's function"):
        classifier.save(tmp_path / "saved")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["student.options={a = 1}"], "only a student.factory has options"),
        (["specialists.options={a = 1}"], "only a specialists.factory has options"),
        (["student.factory=a:b", "student.width=4"], "student.factory builds the network"),
        (["specialists.factory=a:b", "specialists.width=4"], "specialists.factory builds"),
        (["specialists.factory=a:b", "specialists.start=generalist"], "starts afresh"),
        (["specialists.factory=a:b", "specialists.freeze=['x']"], "shares no part"),
        (["generalist.head=out"], "only the head of a generalist.factory"),
    ],
)
def test_settings_that_do_not_go_with_a_factory_are_told(overrides, text):
    config = Config.from_toml(None, ["data.arrays=x.npz", *overrides])
    with pytest.raises(ConfigError, match=text):
        check_settings(config, DataShape("features", 12, 100, 100, (6,)))


def test_trainings_of_factories_are_planned_with_their_networks():
    values = {
        "data": {"arrays": "x.npz"},
        "specialists": {"kind": "both", "factory": "small_run:branched", "options": {"width": 5}},
        "student": {"factory": "own_networks:cosine"},
    }
    config = Config.from_dict(values).resolve("features")
    assert (config.specialists.start, config.specialists.freeze) == ("fresh", ())
    shape = DataShape("features", 12, 400, 100, (6,))
    assert list(impossible_networks(config, shape)) == []
    specs = {plan.kind: plan.spec for plan in planned_trainings(config, shape)}
    assert specs["generalist"].model == "mlp"
    found = {kind: (spec.model, spec.n_classes) for kind, spec in specs.items()}
    assert found["specialist"] == ("small_run:branched", 7)
    assert found["shared specialist"] == ("small_run:branched", 12)
    assert found["student"] == ("own_networks:cosine", 12)
    network, spec = shared_network(specs["generalist"], config.specialists)
    assert spec == specs["shared specialist"]
    assert network(torch.zeros(2, 6)).shape == (2, 12)
