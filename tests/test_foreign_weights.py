"""Weights that other programs wrote: read whoever wrapped them, their outputs matched by name."""

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from specialists.errors import DataWarning, InputError
from specialists.networks import (
    NetworkSpec,
    adopt_weights,
    build,
    check_head_is_last,
    output_order,
    read_foreign,
    warn_if_near_chance,
    warn_of_other_inputs,
)
from specialists.networks.foreign import ForeignWeights

C, DIM = 5, 3
SPEC = NetworkSpec("mlp", C, (DIM,), width=6, depth=2)
NAMES = ("ant", "bee", "cat", "dog", "élan")
OTHER_ORDER = ("dog", "élan", "ant", "cat", "bee")
X = torch.randn(7, DIM, generator=torch.Generator().manual_seed(1))


def made(spec: NetworkSpec = SPEC) -> nn.Module:
    torch.manual_seed(0)
    return build(spec).eval()


def adopted(path, classes=NAMES, given=None, network: nn.Module | None = None):
    """A network here with the weights of ``path``, and what was told."""
    torch.manual_seed(9)
    network = build(SPEC).eval() if network is None else network
    weights = read_foreign(path)
    order = output_order(weights, given, classes)
    return network, (order.note, *adopt_weights(network, weights, order, len(classes)))


def is_theirs(network: nn.Module) -> bool:
    return torch.allclose(network(X), made()(X), atol=1e-6)


class Lightning(nn.Module):
    """As a LightningModule holds a network, and what it is trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.model = made()
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(C))


def optimised():
    network = made()
    optimiser = torch.optim.Adam(network.parameters())
    F.cross_entropy(network(X), torch.zeros(len(X), dtype=torch.long)).backward()
    optimiser.step()
    return optimiser.state_dict()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in made().state_dict().items()}


STATE = made().state_dict()
CHECKPOINTS = {
    "a plain state dict": lambda: STATE,
    "state_dict": lambda: {"state_dict": STATE},
    "model_state_dict and an optimiser": lambda: {
        "epoch": 3,
        "model_state_dict": STATE,
        "optimizer_state_dict": optimised(),
        "loss": torch.tensor(0.5),
    },
    "model": lambda: {"model": STATE, "args": {"lr": 0.1}},
    "another entry": lambda: {"best": {"weights_of_it": STATE}},
    "DataParallel": lambda: nn.DataParallel(made()).state_dict(),
    "torch.compile": lambda: cast(nn.Module, torch.compile(made(), backend="eager")).state_dict(),
    "torch.compile in DataParallel": lambda: prefixed("module._orig_mod."),
    "a compiled part": lambda: {
        key.replace("hidden1.", "hidden1._orig_mod."): value for key, value in STATE.items()
    },
    "Lightning": lambda: {
        "epoch": 1,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": Lightning().state_dict(),
        "optimizer_states": [optimised()],
        "hyper_parameters": {"lr": 0.1},
    },
    "any other wrapper": lambda: prefixed("learner.backbone."),
    "parameters": lambda: dict(made().named_parameters()),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("format_", ["zip", "legacy"])
def test_a_checkpoint_is_read_whoever_wrapped_it(name, format_, tmp_path):
    file = tmp_path / "own.ckpt"
    torch.save(CHECKPOINTS[name](), file, _use_new_zipfile_serialization=format_ == "zip")
    network, _ = adopted(file)
    assert is_theirs(network)


def test_a_network_that_is_wrapped_here_takes_weights_that_are_not(tmp_path):
    torch.save(STATE, tmp_path / "own.pt")
    wrapped = nn.Sequential()
    wrapped.add_module("net", build(SPEC))
    network, _ = adopted(tmp_path / "own.pt", network=wrapped.eval())
    assert is_theirs(network)


def test_safetensors_are_known_by_their_content(tmp_path):
    save_file(STATE, tmp_path / "own.bin")
    assert is_theirs(adopted(tmp_path / "own.bin")[0])


def test_a_checkpoint_that_holds_itself_is_read_to_an_end(tmp_path):
    checkpoint: dict = {"state_dict": STATE}
    checkpoint["self"] = checkpoint
    torch.save(checkpoint, tmp_path / "own.pt")
    assert is_theirs(adopted(tmp_path / "own.pt")[0])


def test_what_is_no_part_of_the_network_is_counted(tmp_path):
    torch.save({"state_dict": Lightning().state_dict()}, tmp_path / "own.ckpt")
    _, notes = adopted(tmp_path / "own.ckpt")
    assert "tensors that are no part of it left out (1): criterion.weight" in notes


def test_which_of_several_sets_was_taken_is_told_and_the_weights_come_before_their_mean(tmp_path):
    torch.save({"ema": made().state_dict(), "state_dict": STATE}, tmp_path / "own.pt")
    _, notes = adopted(tmp_path / "own.pt")
    assert "its entry 'state_dict' was taken; 'ema' would fit as well" in notes


def test_two_networks_under_two_prefixes_are_refused(tmp_path):
    torch.save({**prefixed("student."), **prefixed("teacher.")}, tmp_path / "own.pt")
    with pytest.raises(InputError, match="several sets") as caught:
        adopted(tmp_path / "own.pt")
    assert "'student.'" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_of_another_precision_become_float32(dtype, suffix, tmp_path):
    state, file = {k: v.to(dtype) for k, v in STATE.items()}, tmp_path / f"own{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    network, _ = adopted(file)
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name].float())


def sharded(folder, names=("model-00001-of-00002", "model-00002-of-00002")) -> None:
    keys = list(STATE)
    parts = {f"{names[0]}.safetensors": keys[:2], f"{names[1]}.safetensors": keys[2:]}
    for file, part in parts.items():
        save_file({key: STATE[key] for key in part}, folder / file)
    index = {"weight_map": {key: file for file, part in parts.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


PRETRAINED = {
    "one file": lambda folder: save_file(STATE, folder / "model.safetensors"),
    "shards": sharded,
    "a pickle": lambda folder: torch.save(STATE, folder / "pytorch_model.bin"),
    "a model of this package": lambda folder: save_file(STATE, folder / "weights.safetensors"),
}


@pytest.mark.parametrize("written", PRETRAINED)
def test_a_folder_of_save_pretrained_is_read_with_the_names_of_its_outputs(written, tmp_path):
    PRETRAINED[written](tmp_path)
    config = {"id2label": {str(i): name for i, name in enumerate(OTHER_ORDER)}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    network, notes = adopted(tmp_path)
    order = [OTHER_ORDER.index(name) for name in NAMES]
    torch.testing.assert_close(network(X), made()(X)[:, order])
    assert "by name" in notes[0]


def test_a_missing_shard_and_a_path_out_of_the_folder_are_refused(tmp_path):
    sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="1 of 2 shards"):
        read_foreign(tmp_path)
    index = {"weight_map": {"head.weight": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="no files of its folder"):
        read_foreign(tmp_path)


NAMED = {
    "a list": list(OTHER_ORDER),
    "a tuple": OTHER_ORDER,
    "from number to name": dict(enumerate(OTHER_ORDER)),
    "from name to number": {name: i for i, name in enumerate(OTHER_ORDER)},
    "decomposed, with white space": [" dog", "e\u0301lan", "ant\n", "cat", "bee"],
}


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("entry", ["classes", "class_names", "id2label", "class_to_idx"])
def test_outputs_are_put_in_the_datas_order_by_the_names_in_a_checkpoint(named, entry, tmp_path):
    torch.save({"state_dict": STATE, entry: NAMED[named]}, tmp_path / "own.pt")
    network, notes = adopted(tmp_path / "own.pt")
    order = [OTHER_ORDER.index(name) for name in NAMES]
    torch.testing.assert_close(network(X), made()(X)[:, order])
    assert f"entry '{entry}'" in notes[0]


FILES = {
    "classes.txt": "\n".join(OTHER_ORDER) + "\n",
    "classes.json": json.dumps(OTHER_ORDER),
    "config.json": json.dumps({"label2id": {name: i for i, name in enumerate(OTHER_ORDER)}}),
    "model.json": json.dumps({"class_names": OTHER_ORDER}),
}


@pytest.mark.parametrize("name", FILES)
def test_names_are_found_beside_the_weights(name, tmp_path):
    torch.save(STATE, tmp_path / "own.pt")
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    network, notes = adopted(tmp_path / "own.pt")
    order = [OTHER_ORDER.index(known) for known in NAMES]
    torch.testing.assert_close(network(X), made()(X)[:, order])
    assert name in notes[0]


@pytest.mark.parametrize("as_file", [False, True])
def test_the_configuration_has_the_last_word_on_the_names(as_file, tmp_path):
    torch.save({"state_dict": STATE, "classes": list(NAMES)}, tmp_path / "own.pt")
    file = tmp_path / "order.txt"
    file.write_text("\r\n".join(OTHER_ORDER), encoding="utf-8-sig")
    network, _ = adopted(tmp_path / "own.pt", given=str(file) if as_file else OTHER_ORDER)
    order = [OTHER_ORDER.index(name) for name in NAMES]
    torch.testing.assert_close(network(X), made()(X)[:, order])


@pytest.mark.parametrize(
    "entry", [{"classes": 5}, {"id2label": {i: f"LABEL_{i}" for i in range(C)}}, {"classes": []}]
)
def test_entries_that_name_nobody_are_no_names(entry, tmp_path):
    torch.save({"state_dict": STATE, **entry}, tmp_path / "own.pt")
    network, notes = adopted(tmp_path / "own.pt")
    assert is_theirs(network)
    assert "the data's (sorted) order" in notes[0]


def test_classes_that_are_numbers_are_matched_by_number_however_the_data_sort_them(tmp_path):
    spec = NetworkSpec("mlp", 12, (DIM,), width=6, depth=1)
    torch.save(made(spec).state_dict(), tmp_path / "own.pt")
    as_strings = tuple(sorted(map(str, range(12))))
    network, _ = adopted(tmp_path / "own.pt", as_strings, network=build(spec).eval())
    torch.testing.assert_close(network(X), made(spec)(X)[:, [int(name) for name in as_strings]])


def test_outputs_of_classes_that_the_data_lack_are_left_out_and_told(tmp_path):
    torch.save({"state_dict": STATE, "classes": OTHER_ORDER}, tmp_path / "own.pt")
    fewer = build(NetworkSpec("mlp", 3, (DIM,), width=6, depth=2)).eval()
    network, notes = adopted(tmp_path / "own.pt", ("ant", "cat", "dog"), network=fewer)
    torch.testing.assert_close(network(X), made()(X)[:, [2, 3, 0]])
    assert "left out are those that the data lack (2): 'bee', 'élan'" in notes[0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dog", "cat", "emu", "bee", "fox"], "no output for 2 of the data's 5 classes"),
        (["ant", "bee", "cat", "dog", "dog"], "'dog' more than once"),
        ([*NAMES, "emu"], "6 names, 5 outputs"),
        (["ant", "", "cat", "dog", "élan"], "name 2"),
        ([["ant"], ["bee"]], "neither a string nor a whole number"),
        ([None, *NAMES], r"outputs of the network have no name(?s:.*)none for 0"),
    ],
)
def test_names_that_do_not_fit_are_told_in_one_message(names, message, tmp_path):
    torch.save(STATE, tmp_path / "own.pt")
    with pytest.raises(InputError, match=message):
        adopted(tmp_path / "own.pt", given=names)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.json", b"[1, 2"),
        ("classes.json", b"[" * 100_000),
        ("classes.txt", b"\xff\xfe\x00caf\xe9"),
        ("classes.txt", b"ant\n\ncat\ndog\nbee\n"),
        ("classes.txt", b""),
        ("config.json", b"{"),
    ],
)
def test_damaged_files_of_names_are_refused(name, content, tmp_path):
    torch.save(STATE, tmp_path / "own.pt")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        adopted(tmp_path / "own.pt")


def test_numbers_of_outputs_that_begin_with_one_are_refused(tmp_path):
    torch.save(STATE, tmp_path / "own.pt")
    numbers = {name: i for i, name in enumerate(NAMES, start=1)}
    (tmp_path / "classes.json").write_text(json.dumps(numbers))
    with pytest.raises(InputError, match=r"classes.json(?s:.*)none for 0(?s:.*)numbers 0 to 4"):
        adopted(tmp_path / "own.pt")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "\r\n".join([*OTHER_ORDER, "", " "])),
        ("NAMES.JSON", json.dumps(OTHER_ORDER)),
    ],
)
def test_blank_lines_at_the_end_and_capital_suffixes_do_not_matter(name, content, tmp_path):
    torch.save(STATE, tmp_path / "own.pt")
    (tmp_path / name).write_text(content)
    network, _ = adopted(tmp_path / "own.pt", given=str(tmp_path / name))
    order = [OTHER_ORDER.index(known) for known in NAMES]
    torch.testing.assert_close(network(X), made()(X)[:, order])


def test_every_wrong_shape_and_missing_or_unknown_key_is_named_under_its_prefix(tmp_path):
    state = {key.removeprefix("module."): value for key, value in prefixed("module.").items()}
    state["head.weight"] = torch.zeros(5, 7)
    state["extra"] = torch.zeros(2)
    del state["hidden1.bias"]
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "weights.pt")
    with pytest.raises(InputError) as caught:
        adopted(tmp_path / "weights.pt")
    message = str(caught.value)
    assert "missing hidden1.bias (6,)" in message
    assert "unknown module.extra (2,)" in message
    assert "head.weight is (5, 7), not (5, 6)" in message
    assert len(message.splitlines()) < 10


class Bomb:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return os.mkdir, (self.file,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))]
)
def test_a_pickle_with_code_is_refused_and_not_executed(write, tmp_path):
    write({"head.weight": Bomb(tmp_path / "exploded")}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="plain tensors") as caught:
        adopted(tmp_path / "weights.pt")
    assert not (tmp_path / "exploded").exists()
    assert "weights_only" not in str(caught.value)
    assert "trust" not in str(caught.value)  # PyTorch's message says how to execute it


def test_what_a_pickle_would_execute_is_named(tmp_path):
    torch.save(made(), tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"a pickle that calls \S+\.\w+, which would have to be"):
        adopted(tmp_path / "whole.pt")


def compressed(file):
    torch.save(STATE, file.with_suffix(".tmp"))
    with zipfile.ZipFile(file.with_suffix(".tmp")) as old, zipfile.ZipFile(file, "w", 8) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))


def quantised(file):
    state = {k: v.to(torch.int8) for k, v in STATE.items()}
    torch.save(state, file)


def not_finite(file):
    torch.save({**STATE, "head.bias": torch.full((C,), torch.nan)}, file)


def an_array(file):
    with file.open("wb") as stream:
        np.savez(stream, x=np.zeros(3))


def truncated(file, keep):
    torch.save(STATE, file)
    file.write_bytes(file.read_bytes()[:keep])


WRONG = {
    "empty": lambda file: file.write_bytes(b""),
    "words": lambda file: file.write_bytes(b"not weights"),
    "a web page": lambda file: file.write_bytes(b"<!DOCTYPE html><html>404</html>"),
    "a pointer": lambda file: file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
    "half of it": lambda file: truncated(file, 900),
    "all but its end": lambda file: truncated(file, -10),
    "a list": lambda file: torch.save([torch.zeros(2)], file),
    "a tensor": lambda file: torch.save(torch.zeros(2), file),
    "nothing": lambda file: torch.save({}, file),
    "numbers": lambda file: torch.save({"epoch": 3, "args": {"lr": 0.1}}, file),
    "a whole network": lambda file: torch.save(made(), file),
    "a TorchScript program": lambda file: torch.jit.save(torch.jit.trace(made(), X), file),
    "an array": an_array,
    "another network": lambda file: torch.save(nn.Linear(2, 2).state_dict(), file),
    "compressed": compressed,
    "int8": quantised,
    "NaN": not_finite,
    "sparse": lambda file: torch.save({k: v.to_sparse() for k, v in STATE.items()}, file),
    "complex": lambda file: torch.save({k: v.cfloat() for k, v in STATE.items()}, file),
    "missing": lambda file: None,
    "an empty folder": lambda file: file.mkdir(),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_holds_no_weights_that_fit_is_refused_in_one_message(kind, suffix, tmp_path):
    file = tmp_path / f"own{suffix}"
    WRONG[kind](file)
    with pytest.raises(InputError) as caught:
        adopted(file)
    assert "to mend it" in str(caught.value) or "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "told"), [("a web page", "a web page"), ("a pointer", "git lfs pull")]
)
def test_what_came_instead_of_the_file_is_recognised(kind, told, tmp_path):
    WRONG[kind](tmp_path / "own.pt")
    with pytest.raises(InputError, match=told):
        adopted(tmp_path / "own.pt")


def test_a_flipped_bit_among_the_numbers_is_found_by_its_check_sum(tmp_path):
    file = tmp_path / "own.pt"
    torch.save(STATE, file)
    content = bytearray(file.read_bytes())
    at = content.find(STATE["hidden2.weight"].numpy().tobytes())
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="CRC"):
        adopted(file)


@pytest.mark.parametrize("written", ["zip", "legacy", "safetensors"])
def test_any_flipped_bit_gives_the_weights_or_one_message(written, tmp_path):
    file = tmp_path / ("own.safetensors" if written == "safetensors" else "own.pt")
    if written == "safetensors":
        save_file(STATE, file)
    else:
        torch.save(STATE, file, _use_new_zipfile_serialization=written == "zip")
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for bit in rng.choice(8 * len(whole), 40, replace=False).tolist():
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        try:
            network, _ = adopted(file)
        except InputError:
            continue
        values = torch.cat([value.flatten() for value in network.state_dict().values()])
        theirs = torch.cat([value.flatten() for value in STATE.values()])
        assert int((values != theirs).sum()) <= (written != "zip"), bit


def test_weights_saved_without_check_sums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "own.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert is_theirs(adopted(tmp_path / "own.pt")[0])


class Tied(nn.Module):
    """A network whose two layers are one, of which files may hold a single name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, C)


def test_tied_weights_and_counters_may_be_missing():
    network, theirs = Tied(), Tied()
    state = theirs.state_dict()
    del state["second.weight"], state["norm.num_batches_tracked"]
    weights = ForeignWeights(Path("own"), {"": state})
    adopt_weights(network, weights, output_order(weights, NAMES, NAMES), C)
    assert torch.equal(network.second.weight, theirs.first.weight)


class Reordered(nn.Module):
    """A network that turns its head's outputs around."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(DIM, C)

    def forward(self, x):
        return self.head(x).flip(-1)


def test_outputs_that_are_not_the_heads_cannot_be_put_in_order():
    with pytest.raises(InputError, match="not those of 'head'"):
        check_head_is_last(Reordered(), C, X)


@pytest.mark.parametrize(
    ("top1", "labels", "n_classes", "warns"),
    [
        (0.17, torch.arange(12), 12, True),
        (0.30, torch.arange(12), 12, False),
        (0.003, torch.arange(1000), 1000, True),
        (0.004, torch.arange(1000), 1000, False),
        (0.80, torch.tensor([0] * 8 + [1, 2]), 3, True),
        (0.85, torch.tensor([0] * 8 + [1, 2]), 3, False),
        (0.60, torch.tensor([0, 1]), 2, False),
    ],
)
def test_a_network_near_chance_is_told(top1, labels, n_classes, warns, recwarn):
    warn_if_near_chance(top1, labels, n_classes, "own.pt")
    assert [w.category for w in recwarn] == [DataWarning] * warns


STANDARDISED = {"kind": "features", "n_features": 2, "mean": [1.0, 2.0], "std": [1.0, 1.0]}
AS_THEY_ARE = {**STANDARDISED, "mean": None, "std": None}


@pytest.mark.parametrize(
    ("theirs", "here", "told"),
    [
        (STANDARDISED, AS_THEY_ARE, "standardised True, here False"),
        (AS_THEY_ARE, STANDARDISED, "standardised False, here True"),
        (STANDARDISED, {**STANDARDISED, "mean": [1.1, 2.0]}, None),
        ({"kind": "text", "lowercase": True}, {"kind": "text", "lowercase": False}, "lowercase"),
        (None, STANDARDISED, None),
        ("text", STANDARDISED, None),
    ],
)
def test_weights_of_this_package_say_how_their_inputs_were_made(
    theirs, here, told, tmp_path, recwarn
):
    (tmp_path / "model.json").write_text(json.dumps({"preprocessing": theirs}))
    warn_of_other_inputs(tmp_path / "weights.safetensors", here)
    assert [told in str(w.message) for w in recwarn] == [True] * bool(told)
