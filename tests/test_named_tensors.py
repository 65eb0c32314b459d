"""Several tensors a row: how they are held, stored and encoded, and how a network is given them."""

import numpy as np
import own_networks
import pytest
import torch
from torch import nn

from specialists.config import Config, DataConfig
from specialists.datasets import (
    Dataset,
    NamedTensors,
    Ragged,
    Split,
    encode,
    load_dataset,
    load_dataset_folder,
    read_unlabelled,
    save_dataset,
)
from specialists.datasets.base import Inputs, joined_inputs, row_shape, rows_between
from specialists.errors import ConfigError, DataError, InputError
from specialists.feasibility import DataShape, check_settings
from specialists.networks import (
    check_head_is_last,
    head_and_trunk,
    inference_flops,
    outputs_of,
)
from specialists.training.examples import Batch

NAMES = ("input_ids", "attention_mask")
LENGTH = own_networks.LENGTH


def rows(n_per_class: int = 2, seed: int = 0) -> NamedTensors:
    x, _ = own_networks.token_rows(n_per_class, seed)
    return NamedTensors({name: torch.from_numpy(values) for name, values in x.items()})


def same(first: Inputs, second: Inputs) -> bool:
    assert isinstance(first, NamedTensors)
    assert isinstance(second, NamedTensors)
    a, b = first.tensors, second.tensors
    return list(a) == list(b) and all(a[k].dtype == b[k].dtype and a[k].equal(b[k]) for k in a)


def load(file, **changes) -> Dataset:
    return load_dataset(DataConfig(arrays=file, tensors=NAMES, **changes), seed=0)


RAGGED = Ragged.from_lengths(np.arange(6, dtype=np.int32), np.array([2, 0, 4]))
PLAIN = torch.arange(12.0).view(3, 4)


@pytest.mark.parametrize("inputs", [rows()[:3], RAGGED, PLAIN], ids=["named", "ragged", "plain"])
def test_inputs_of_every_kind_answer_the_same_calls(inputs):
    index = torch.tensor([2, 0])
    both = joined_inputs([inputs, inputs[index]])
    assert len(both) == 5
    parts = both.split([3, 2])
    for found, expected in zip(parts, (inputs, inputs[index]), strict=True):
        torch.testing.assert_close(vars_of(found), vars_of(expected))
    torch.testing.assert_close(vars_of(rows_between(both, 3, 5)), vars_of(inputs[index]))
    assert inputs.to("cpu").clone().nbytes == inputs.nbytes > 0
    assert row_shape(inputs) == ((4,) if inputs is PLAIN else ())


def vars_of(inputs: Inputs) -> object:
    if isinstance(inputs, torch.Tensor):
        return inputs
    return dict(inputs.tensors) if isinstance(inputs, NamedTensors) else vars(inputs)


def test_what_a_network_changes_in_its_rows_is_a_copy():
    inputs = rows()
    block = rows_between(inputs, 0, 2)
    assert isinstance(block, NamedTensors)
    block.tensors["input_ids"].zero_()
    assert same(inputs, rows())


def test_a_data_loader_pins_every_tensor_of_a_batch(monkeypatch):
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    inputs = rows()
    for batch in (inputs, Batch(inputs, (torch.arange(len(inputs)),))):
        pinned.clear()
        found = pin_memory(batch)
        assert type(found) is type(batch)
        assert len(pinned) == len(inputs.tensors) + isinstance(batch, Batch)
        assert same(getattr(found, "inputs", found), inputs)


@pytest.mark.parametrize(
    "tensors",
    [{}, {"a": torch.zeros(2), "b": torch.zeros(3)}, {"a": torch.tensor(1.0)}],
)
def test_tensors_of_other_numbers_of_rows_are_refused(tensors):
    with pytest.raises(DataError, match="same number of rows"):
        NamedTensors(tensors)


class Whole(nn.Module):
    def forward(self, batch):
        assert set(batch) == set(NAMES)
        return batch["input_ids"].float()


class Numbers(nn.Module):
    def forward(self, x):
        return own_networks.Output(x.float())


class Any(nn.Module):
    def forward(self, input_ids=None, **others):
        assert input_ids is not None
        assert set(others) == {"attention_mask"}
        return input_ids.float()


@pytest.mark.parametrize("network", [Whole(), Any()])
def test_a_network_is_given_names_or_a_dictionary(network):
    inputs = rows()
    assert outputs_of(network, inputs).equal(inputs.tensors["input_ids"].float())


def test_a_tensor_whose_name_a_network_does_not_know_is_given_alone():
    ids = rows().tensors["input_ids"]
    assert outputs_of(Numbers(), NamedTensors({"input_ids": ids})).equal(ids.float())
    chain = nn.Sequential(nn.Embedding(own_networks.N_TOKENS, 3), nn.Flatten())
    assert outputs_of(chain, NamedTensors({"ids": ids})).shape == (len(ids), 3 * LENGTH)


def test_outputs_without_logits_are_refused():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(InputError, match=r"not understood(?s:.*)Pair(?s:.*)tuple"):
        outputs_of(Pair(), PLAIN)


def test_operations_of_a_network_with_names_and_logits_are_counted():
    network = own_networks.tokens(own_networks.N_CLASSES)
    assert inference_flops(network, rows()) == 2 * 16 * own_networks.N_CLASSES


def test_the_trunk_of_a_network_with_names_and_logits_gives_its_features():
    network = own_networks.tokens(own_networks.N_CLASSES).eval()
    check_head_is_last(network, own_networks.N_CLASSES, rows())
    trunk, head = head_and_trunk(network, own_networks.N_CLASSES)
    assert head(outputs_of(trunk, rows())).equal(outputs_of(network, rows()))


def test_arrays_by_name_are_loaded_stored_and_read_back(tmp_path):
    dataset = load(str(own_networks.write_tokens(tmp_path / "tokens.npz")), groups=None)
    assert dataset.kind == "tensors"
    assert [note for note in dataset.notes if "not used" in note] == []
    x, _ = own_networks.token_rows(10, 2)
    assert same(dataset.test.inputs, encode(dataset.preprocessing, x))
    save_dataset(dataset, tmp_path / "kept")
    again = load_dataset_folder(tmp_path / "kept", test_labels=True)
    for name, split in dataset.splits.items():
        assert same(split.inputs, again.splits[name].inputs)
        assert split.labels.equal(again.splits[name].labels)


def test_types_of_every_width_lie_side_by_side(tmp_path):
    odd = {"a": torch.tensor([True, False]), "b": torch.rand(2, 3, dtype=torch.float64)}
    inputs = NamedTensors({**odd, "c": torch.tensor([[[1], [2]], [[3], [4]]], dtype=torch.int8)})
    np.save(tmp_path / "x.npy", inputs.records())
    assert same(NamedTensors.of_records(np.load(tmp_path / "x.npy")), inputs)


def test_a_file_for_each_array_and_one_set_of_rows_are_split_here(tmp_path):
    x, y = own_networks.token_rows(30, 0)
    files = {"input_ids": "ids.npy", "attention_mask": "mask.npy", "y": "y.npy"}
    for name, values in {**x, "y": y}.items():
        np.save(tmp_path / files[name], values)
    dataset = load({name: str(tmp_path / file) for name, file in files.items()})
    assert sum(map(len, dataset.splits.values())) == 360
    assert isinstance(dataset.train.inputs, NamedTensors)
    assert tuple(dataset.train.inputs.tensors) == NAMES


def test_rows_with_the_same_tensors_are_one_observation(tmp_path):
    x, y = own_networks.token_rows(30, 0)
    twice = {name: np.concatenate([values, values[:40]]) for name, values in x.items()}
    twice["y"] = np.concatenate([y, y[:40]])
    np.savez(tmp_path / "twice.npz", **twice)  # pyright: ignore[reportArgumentType]
    dataset = load(str(tmp_path / "twice.npz"))
    units = torch.cat([split.units for split in dataset.splits.values()])
    assert len(units.unique()) == 360


def test_a_file_of_new_rows_is_read_by_the_names_of_training(tmp_path):
    file = own_networks.write_tokens(tmp_path / "tokens.npz")
    dataset = load(str(file))
    inputs, names = read_unlabelled(file, dataset.preprocessing)
    assert same(inputs, dataset.test.inputs)
    assert names[:2] == ("0", "1")
    alone = {"kind": "tensors", "tensors": {"ids": ["int64", [LENGTH]]}}
    x, _ = own_networks.token_rows(1, 4)
    np.save(tmp_path / "ids.npy", x["input_ids"])
    assert len(read_unlabelled(tmp_path / "ids.npy", alone)[0]) == own_networks.N_CLASSES


IDS = np.ones((3, LENGTH), dtype=np.int64)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"input_ids": IDS}, r"are missing(?s:.*)'attention_mask'"),
        ({"input_ids": IDS[:, :3], "attention_mask": IDS}, "pad or cut rows"),
        ({"input_ids": IDS * 0.5, "attention_mask": IDS}, "'input_ids' is not as in training"),
        ({"input_ids": IDS, "attention_mask": IDS[:2]}, "same number of rows"),
        ({"input_ids": [[1, 2], [3]], "attention_mask": IDS}, "holds no numbers"),
        (IDS, "these are no tensors|are missing"),
        ("words", "these are no tensors"),
    ],
)
def test_what_is_not_as_in_training_is_told(given, text):
    trained = {"input_ids": ["int64", [LENGTH]], "attention_mask": ["int64", [LENGTH]]}
    with pytest.raises(DataError, match=text):
        encode({"kind": "tensors", "tensors": trained}, given)


def test_whole_numbers_of_another_width_are_taken_and_nan_is_not():
    preprocessing = {"kind": "tensors", "tensors": {"a": ["int64", [1]], "b": ["float32", []]}}
    given = {"a": np.array([[7]], dtype=np.uint32), "b": np.array([0.5]), "more": ["x"]}
    encoded = encode(preprocessing, {k: given[k] for k in "ab"})
    assert same(encoded, NamedTensors({"a": torch.tensor([[7]]), "b": torch.tensor([0.5])}))
    with pytest.raises(DataError, match="NaN"):
        encode(preprocessing, {"a": [[1]], "b": [np.nan]})


def made(kind: str = "tensors", inputs: Inputs | None = None) -> Dataset:
    """For ``data.factory``: one tensor or several, in four splits."""
    taken = rows(3) if inputs is None else inputs
    split = Split(taken, torch.arange(len(taken)) % 3)
    return Dataset("made", kind, ("a", "b", "c"), split, split, split, {})  # type: ignore[arg-type]


def test_a_factory_brings_tensors_of_any_type(monkeypatch):
    for inputs in (rows(3), torch.arange(36).view(36, 1)):
        monkeypatch.setitem(globals(), "brought", lambda inputs=inputs: made("tensors", inputs))
        found = load_dataset(DataConfig(factory="test_named_tensors:brought"), seed=0)
        assert type(found.train.inputs) is type(inputs)
    monkeypatch.setitem(globals(), "brought", lambda: made("features"))
    with pytest.raises(DataError, match=r"do not fit the kind(?s:.*)kind tensors takes"):
        load_dataset(DataConfig(factory="test_named_tensors:brought"), seed=0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "generalist.factory is not set"),
        ({"generalist": {"model": "mlp"}}, "these data are tensors: generalist.factory"),
        ({"data": {"augment": True}}, "data.augment"),
        ({"data": {"standardize": True}}, "data.standardize"),
        ({"data": {"in_place": True}}, "data.in_place .*of the kind tensors are held in memory"),
    ],
)
def test_settings_that_tensors_have_no_use_for_are_told(changes, text):
    data = {"arrays": "x.npz", "tensors": NAMES, **changes.pop("data", {})}
    own = {} if "generalist.factory" in text else {"factory": "own_networks:tokens"}
    values = {"generalist": {**own, **changes.get("generalist", {})}, "data": data}
    with pytest.raises(ConfigError, match=text):
        check_settings(Config.from_dict(values), DataShape("tensors", 12, 100, 100))


def test_tensors_are_held_whatever_in_place_says(tmp_path):
    ids, y = np.arange(240).reshape(60, 4), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", ids=ids, y=y)
    config = DataConfig(arrays=str(tmp_path / "a.npz"), tensors=("ids",), in_place=True)
    assert isinstance(load_dataset(config, seed=0).train.inputs, NamedTensors)
