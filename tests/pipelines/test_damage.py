"""What is damaged or mixed is told, and never used in silence."""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import small_run
import torch
from typer.testing import CliRunner

import specialists
from pipelines import stages
from pipelines.__main__ import app
from pipelines.finished_run import read_seed
from pipelines.runs import Run
from specialists.datasets import check_preprocessing, encode
from specialists.errors import InputError
from specialists.files import artifacts, read_json, write_json, write_sealed
from specialists.files.sealed import read_sealed
from specialists.training.checkpoints import load_checkpoint, save_checkpoint

READ = {
    "student": [
        "distill-student/manifest.json",
        "distill-student/student/model.json",
        "distill-student/student/weights.safetensors",
        "distill-student/trials.json",
        "train-generalist/model.json",
        "combine-predictions/choice.json",
        "prepare-data/dataset.json",
    ],
    "generalist": [
        "train-generalist/manifest.json",
        "train-generalist/model.json",
        "train-generalist/weights.safetensors",
        "train-generalist/calibration.json",
        "train-generalist/result.json",
        "prepare-data/dataset.json",
    ],
    "ensemble": [
        "combine-predictions/manifest.json",
        "combine-predictions/choice.json",
        "train-specialists/manifest.json",
        "train-specialists/specialist-000/model.json",
        "train-specialists/specialist-000/weights.safetensors",
        "train-specialists/specialist-002/weights.safetensors",
        "train-generalist/model.json",
        "train-generalist/weights.safetensors",
        "train-generalist/calibration.json",
        "cluster-classes/clusters.json",
        "prepare-data/dataset.json",
        "prepare-data/train.inputs.npy",
        "prepare-data/validation.labels.npy",
        "prepare-data/test.inputs.npy",
        "config.toml",
    ],
}
ROUNDS = {"student": 20, "generalist": 23, "ensemble": 10}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """A finished run."""
    run = small_run.make_run(tmp_path_factory.mktemp("damage") / "run")
    stages.run_stages(run)
    return run


@pytest.fixture
def copied(whole, tmp_path) -> Run:
    shutil.copytree(whole.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def new_inputs() -> np.ndarray:
    return small_run.features(2, seed=7)[0]


def answer(folder: Path, model: str) -> tuple[tuple[str, ...], bytes] | None:
    """The classes and what a model predicts, or None where it is refused in one message."""
    try:
        predictor = specialists.load(folder, model)
        return predictor.class_names, predictor.predict_proba(new_inputs()).tobytes()
    except InputError:
        return None


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A flipped bit, a zeroed or repeated block, a cut, or an empty file."""
    at = draw.randrange(len(content))
    kind = draw.choice(["flip", "flip", "flip", "zero", "repeat", "cut", "empty"])
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
    if kind == "zero":
        return content[:at] + b"\0" * len(content[at : at + 64]) + content[at + 64 :]
    if kind == "repeat":
        return content[:at] + content[at : at + 64] * 2 + content[at + 64 :]
    return content[:at] if kind == "cut" else b""


@contextmanager
def changed(file: Path, content: bytes) -> Iterator[None]:
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("model", READ)
def test_a_damaged_file_gives_the_same_answer_or_one_message(whole, model):
    draw, expected, refused = random.Random(model), answer(whole.folder, model), 0
    assert expected is not None
    for name in READ[model] * ROUNDS[model]:
        file = whole.folder / name
        content = damaged(file.read_bytes(), draw)
        with changed(file, content):
            found = answer(whole.folder, model)
        assert found in (None, expected), (name, content[:80])
        refused += found is None
    assert refused > len(READ[model]) * ROUNDS[model] // 2
    assert answer(whole.folder, model) == expected


@pytest.mark.parametrize("model", ["student", "generalist"])
def test_a_copied_model_verifies_itself(whole, tmp_path, model):
    folder = {"student": "distill-student/student", "generalist": "train-generalist"}[model]
    shutil.copytree(whole.folder / folder, tmp_path / "copy")
    expected = answer(whole.folder, model)
    assert answer(tmp_path / "copy", model) == expected
    draw = random.Random(model)
    for name in ("weights.safetensors", "model.json") * 20:
        file = tmp_path / "copy" / name
        with changed(file, damaged(file.read_bytes(), draw)):
            assert answer(tmp_path / "copy", model) in (None, expected), name


@pytest.mark.parametrize(
    ("before", "after"), [('"a0"', '"a8"'), ('"temperature": ', '"temperature": 1')]
)
def test_one_changed_character_of_a_copied_description_is_told(whole, tmp_path, before, after):
    shutil.copytree(whole.path("train-generalist"), tmp_path / "copy")
    file = tmp_path / "copy" / "model.json"
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(InputError, match="damaged or was changed by hand"):
        specialists.load(tmp_path / "copy")


def test_weights_of_another_model_are_refused(copied):
    first, second = (copied.path("train-specialists", f"specialist-00{i}") for i in (0, 1))
    shutil.copy(first / "weights.safetensors", second / "weights.safetensors")
    with pytest.raises(InputError, match="is not the one that was written with its description"):
        specialists.load(copied.folder, "ensemble")


@pytest.mark.parametrize("model", ["student", "ensemble", "generalist"])
def test_renamed_classes_are_refused_with_the_stage_to_run(copied, model):
    file = copied.path("prepare-data", "dataset.json")
    about = read_json(file)
    write_json(file, {**about, "class_names": about["class_names"][::-1]})
    stage = {"student": "distill-student", "ensemble": "combine-predictions"}
    with pytest.raises(InputError, match=f"specialists {stage.get(model, 'train-generalist')} "):
        specialists.load(copied.folder, model)


def test_another_number_of_specialists_is_refused(copied):
    file = copied.path("cluster-classes", "clusters.json")
    clusters = read_json(file)
    write_json(file, {**clusters, "clusters": clusters["clusters"][:-1]})
    with pytest.raises(InputError, match=r"clusters\.json changed"):
        specialists.load(copied.folder, "ensemble")


def test_a_newer_generalist_makes_ensemble_and_student_stale(copied):
    config = copied.config_file.read_text().replace("learning_rate = 0.03", "learning_rate = 0.02")
    copied.config_file.write_text(config)
    stages.run_stages(Run(copied.folder), "train-generalist")
    assert answer(copied.folder, "generalist") is not None
    for model in ("student", "ensemble"):
        with pytest.raises(InputError, match=r"input train-generalist/\S+ changed"):
            specialists.load(copied.folder, model)


def test_an_unfinished_stage_is_not_read(copied):
    copied.path("distill-student", "manifest.json").unlink()
    with pytest.raises(InputError, match="it was not finished"):
        specialists.load(copied.folder)


def test_other_frozen_parts_than_those_trained_with_are_refused(copied):
    config = copied.config_file.read_text().replace("freeze = []", 'freeze = ["hidden1"]')
    copied.config_file.write_text(
        config.replace("[specialists]", "[specialists]\nfreeze = ['hidden1']")
    )
    with pytest.raises(InputError, match=r"specialists\.freeze"):
        specialists.load(copied.folder, "ensemble")


def test_a_model_of_an_older_version_says_what_to_do(copied):
    file = copied.path("distill-student", "student", "model.json")
    about = read_json(file)
    del about["sha256"]
    write_json(file, about)
    with pytest.raises(InputError, match="older versions wrote none"):
        specialists.load(file.parent)


def test_a_run_of_an_older_version_is_stale_and_says_why(copied):
    for stage in stages.STAGES:
        file = copied.path(stage.name, "manifest.json")
        manifest = read_json(file)
        del manifest["sha256"]
        write_json(file, {**manifest, "code": "0.3.0"})
    states = {row.name: row for row in stages.status(Run(copied.folder))}
    assert {row.state for row in states.values()} == {"stale"}
    assert states["prepare-data"].reason.startswith("code version 0.3.0 -> ")
    with pytest.raises(InputError, match=r"code version 0\.3\.0 -> "):
        specialists.load(copied.folder)


@pytest.mark.parametrize(
    "content", ["[]", "7", "{}", '{"kind": ["text"]}', '{"kine": "text"}', "\0"]
)
@pytest.mark.parametrize("command", ["status", "combine-predictions", "write-report"])
def test_a_damaged_description_of_the_data_is_told_by_every_command(copied, command, content):
    copied.path("prepare-data", "dataset.json").write_text(content)
    found = CliRunner().invoke(app, [command, str(copied.folder)])
    assert found.exit_code == (0 if command == "status" else 2), found.output
    assert "Traceback" not in found.output
    assert "stale" in found.output


@pytest.mark.parametrize("changes", [{"inputs": []}, {"inputs": None}, {"outputs": [1]}])
def test_a_manifest_of_another_form_is_no_result(copied, changes):
    file = copied.path("combine-predictions", "manifest.json")
    manifest = {key: value for key, value in read_json(file).items() if key != "sha256"}
    write_sealed(file, {**manifest, **changes})
    states = {row.name: row.state for row in stages.status(Run(copied.folder))}
    assert states["combine-predictions"] == "stale"
    with pytest.raises(InputError, match="does not record files by name"):
        specialists.load(copied.folder, "ensemble")


@pytest.mark.parametrize("array", ["top1", "nll"])
def test_what_is_compared_over_seeds_is_checked(copied, array):
    file = copied.path("evaluate-models", f"{array}.npy")
    file.write_bytes(damaged(file.read_bytes(), random.Random(3)))
    with pytest.raises(InputError, match=rf"output {array}\.npy changed"):
        read_seed(copied)


def test_damaged_times_are_no_obstacle_to_a_report(copied):
    copied.path("train-generalist", "timing-stage.json").write_text("{")
    copied.path("distill-student", "timing-stage.json").write_text("[]")
    code = CliRunner().invoke(app, ["write-report", str(copied.folder), "--force"])
    assert code.exit_code == 0, code.output


def checkpointed(folder: Path, monkeypatch) -> tuple[Run, Path]:
    """A run that was stopped while its generalist was trained, and its checkpoint."""
    from specialists.training import loop

    monkeypatch.setattr(artifacts, "sync", lambda path: None)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    run = small_run.make_run(folder / "run")
    judge = loop.Trainer._judge

    def stopped(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return judge(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_judge", stopped)
        with pytest.raises(KeyboardInterrupt):
            stages.run_stages(run, "train-generalist")
    return run, run.path("train-generalist", "units", "width-12", "checkpoint.pt")


def test_a_damaged_checkpoint_is_told_and_the_training_ends_the_same(
    whole, tmp_path, monkeypatch, capsys
):
    run, file = checkpointed(tmp_path, monkeypatch)
    kept = tmp_path / "kept"
    shutil.copytree(run.folder, kept)
    expected = whole.path("train-generalist", "weights.safetensors").read_bytes()
    draw = random.Random(0)
    for _ in range(40):
        broken = draw.choice(["checkpoint.pt"] * 4 + ["checkpoint.json"])
        target = file.with_name(broken)
        target.write_bytes(damaged(target.read_bytes(), draw))
        capsys.readouterr()
        stages.run_stages(run, "train-generalist")
        assert "checkpoint.pt is damaged" in capsys.readouterr().out
        assert run.path("train-generalist", "weights.safetensors").read_bytes() == expected
        shutil.rmtree(run.folder)
        shutil.copytree(kept, run.folder)


def test_a_whole_checkpoint_is_gone_on_from(whole, tmp_path, monkeypatch, capsys):
    run, _ = checkpointed(tmp_path, monkeypatch)
    stages.run_stages(run, "train-generalist")
    assert "damaged" not in capsys.readouterr().out
    times = run.path("train-generalist", "units", "width-12", "timing.jsonl").read_text()
    assert [json.loads(line)["epoch"] for line in times.splitlines()] == [1, 2, 3]


def test_kills_between_checksums_and_checkpoint_lose_no_epoch(tmp_path, monkeypatch, capsys):
    weights, replace = {"w": torch.zeros(2)}, artifacts.os.replace

    def killed(source, target):
        if target.name == "checkpoint.pt":
            raise KeyboardInterrupt
        replace(source, target)

    save_checkpoint(tmp_path, {"network": weights, "best": weights, "epoch": 1})
    monkeypatch.setattr(artifacts.os, "replace", killed)
    for epoch in range(2, 6):
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, {"network": weights, "best": weights, "epoch": epoch})
        saved = load_checkpoint(tmp_path, torch.device("cpu"), like=weights)
        assert saved is not None
        assert saved["epoch"] == 1
    assert not capsys.readouterr().out


@pytest.mark.parametrize("state", [{}, {"network": {}, "best": {}}, [1], torch.zeros(2)])
def test_a_checkpoint_of_something_else_is_no_dead_end(tmp_path, monkeypatch, capsys, state):
    run, file = checkpointed(tmp_path, monkeypatch)
    torch.save(state, file)
    known = {"checkpoints": [artifacts.sha256(file)]}
    write_sealed(file.with_name("checkpoint.json"), known)
    stages.run_stages(run, "train-generalist")
    assert "checkpoint.pt is damaged" in capsys.readouterr().out


def forged(file: Path, *keys: str, value: object) -> None:
    """A value in a sealed file replaced, and the seal made right again, as a forger would."""
    content = read_sealed(file)
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    write_sealed(file, content)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("preprocessing",), [["kind", "features"]]),
        (("preprocessing", "kind"), ["features"]),
        (("preprocessing", "kind"), "text"),
        (("preprocessing", "kind"), None),
        (("preprocessing", "n_features"), 7),
        (("preprocessing", "mean"), ["a"] * small_run.DIM),
        (("preprocessing", "std"), [[[1.0]]]),
        (("preprocessing", "key"), {"x": 1}),
        (("preprocessing", "features"), [7]),
        (("network", "dropout"), 7),
        (("temperature",), 10**400),
        (("temperature",), 0),
        (("temperature",), "warm"),
    ],
)
def test_a_forged_description_is_told_in_one_message(whole, tmp_path, keys, value):
    folder = tmp_path / "copy"
    shutil.copytree(whole.path("distill-student", "student"), folder)
    forged(folder / "model.json", *keys, value=value)
    np.save(tmp_path / "new.npy", new_inputs())
    told = CliRunner().invoke(app, ["predict", str(folder), str(tmp_path / "new.npy")])
    assert told.exit_code == 2
    assert told.output.count("error:") == 1


@pytest.mark.parametrize("lengths", [[1, 10**9], [3, 1], ["a", "b"], [1], None])
def test_n_grams_of_a_forged_description_are_checked(lengths):
    about = {"kind": "text", "char_ngrams": lengths, "word_ngrams": [0, 0], "lowercase": False}
    with pytest.raises((TypeError, ValueError)):
        check_preprocessing(about, ())
    check_preprocessing({**about, "char_ngrams": [1, 4]}, ())


def test_a_preprocessing_that_is_not_complete_is_told_where_inputs_are_encoded():
    check_preprocessing({"kind": "images"}, (1, 8, 8))  # of a factory, say
    with pytest.raises(InputError, match="does not say how new inputs are encoded"):
        encode({"kind": "images"}, np.zeros((1, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("combine-predictions/choice.json", [1]),
        ("combine-predictions/choice.json", {"chosen": None}),
        ("combine-predictions/choice.json", {"chosen": {"rule": "kl", "n": 1, "members": [99]}}),
        ("train-generalist/calibration.json", [1]),
        ("train-generalist/calibration.json", {"temperature": "warm"}),
        ("prepare-data/dataset.json", {"format": 1}),
    ],
)
def test_forged_parts_of_an_ensemble_are_told_in_one_message(copied, monkeypatch, file, value):
    write_json(copied.folder / file, value)
    for module in ("trained_models", "train_specialists"):
        monkeypatch.setattr(f"specialists.pipelines.{module}.check_result", nothing_is_checked)
    monkeypatch.setattr("specialists.files.check_file", lambda *_: None)
    with pytest.raises(InputError, match=r"does not fit|is damaged"):
        specialists.load(copied.folder, "ensemble")


def nothing_is_checked(run: Path, stage: str) -> dict:
    """As if a forger had recorded every checksum anew."""
    return read_json(run / stage / "manifest.json")
