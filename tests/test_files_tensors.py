"""What lies on the disk: tensors without what they can do without, and files of several names."""

import os

import pytest
import torch

from specialists.datasets.base import Ragged
from specialists.errors import DamagedError
from specialists.files import (
    atomic_write,
    copy_file,
    dense,
    disk_use,
    read_tensors,
    write_tensors,
)
from specialists.files.tensors import LEAST_NUMBERS, ROWS, TABLES
from specialists.networks import (
    HashedEmbedding,
    NetworkSpec,
    build,
    build_for,
    load_network,
    read_foreign,
    save_network,
)

SPEC = NetworkSpec("hashed_text", 5, width=8, embedding_dim=16, n_buckets=1024)


def table(kept=0.5, half=False, n=1024, d=16):
    torch.manual_seed(0)
    values = torch.randn(n, d)
    values[torch.rand(n) >= kept] = 0
    values[3] = 0
    values[4], values[4, 2] = 0, -0.0  # zero in every number, not in every bit
    return values.half().float() if half else values


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


TENSORS = {
    "half of the rows": table(),
    "half of the rows, half precision": table(half=True),
    "all rows": table(1.0),
    "all rows, half precision": table(1.0, half=True),
    "no rows": torch.zeros(1024, 16),
    "infinite and no number": table().index_fill_(0, torch.tensor([7]), float("nan")),
    "too large for half precision": table(half=True) * 1e5,
    "a subnormal number": table(half=True).index_fill_(0, torch.tensor([7]), 1e-40),
    "few numbers": torch.zeros(LEAST_NUMBERS // 16 - 1, 16),
    "half precision of its own": table().half(),
    "doubles": table().double(),
    "whole numbers": torch.zeros(1024, 16, dtype=torch.int64),
    "a vector": torch.zeros(2 * LEAST_NUMBERS),
    "no columns": torch.zeros(1024, 0),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_come_back_bit_for_bit(tmp_path, name):
    file, tensor = tmp_path / "x.safetensors", TENSORS[name]
    write_tensors(file, {"table": tensor, "tied": tensor, "bias": torch.ones(3)})
    found = read_tensors(file)
    assert list(found) == ["bias", "table", "tied"]
    for copied in (found["table"], found["tied"], dense(read_tensors(file, whole=False)["tied"])):
        assert copied.shape == tensor.shape
        if copied.dtype == tensor.dtype:
            assert torch.equal(bits(copied), bits(tensor))
        else:  # a float16 of somebody else's, which dense() takes for a table of ours
            assert torch.equal(copied, tensor.float())


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("half of the rows", 0.55),
        ("half of the rows, half precision", 0.3),
        ("all rows, half precision", 0.51),
        ("all rows", 1.01),
        ("no rows", 0.01),
    ],
)
def test_what_a_table_can_do_without_is_not_written(tmp_path, name, share):
    tensor, file = TENSORS[name], tmp_path / "x.safetensors"
    write_tensors(file, {"table": tensor})
    assert file.stat().st_size < share * 4 * tensor.numel() + 300


def test_the_same_values_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_tensors(tmp_path / name, {"y": table(), "x": table(half=True)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_name_that_looks_like_indices_is_only_a_name(tmp_path):
    tensors = {"table": table(), "table" + ROWS: torch.ones(3)}
    write_tensors(tmp_path / "x", tensors)
    found = read_tensors(tmp_path / "x")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("rows", "heights"),
    [
        ([0, 2], '{"t": 2}'),
        ([2, 1], '{"t": 9}'),
        ([1, 1], '{"t": 9}'),
        ([-1, 1], '{"t": 9}'),
        ([0], '{"t": 9}'),
        ([0, 1], '{"t": "9"}'),
        ([0, 1], '{"t": 1000000000000}'),
        ([0, 1], '{"t": 1000000000000000000}'),
        ([0, 1], '{"other": 9}'),
        ([0, 1], "[3]"),
        ([0, 1], "{"),
    ],
)
def test_rows_that_are_none_of_the_table_are_damage(tmp_path, rows, heights):
    from safetensors.torch import save_file

    tensors = {"t": torch.ones(2, 3), "t" + ROWS: torch.tensor(rows, dtype=torch.int32)}
    save_file(tensors, tmp_path / "x.safetensors", {TABLES: heights})
    with pytest.raises(DamagedError, match="damaged"):
        print(
            {name: value.shape for name, value in read_tensors(tmp_path / "x.safetensors").items()}
        )


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kept", [0.4, 1.0])
def test_a_network_comes_back_as_it_was_evaluated(tmp_path, half, kept):
    network = build(SPEC).eval()
    embedding = network.get_submodule("embedding")
    embedding.load_state_dict({"weight": table(kept, half)})
    save_network(network, SPEC, tmp_path)
    loaded, texts = load_network(tmp_path)[0], strings(50, seed=3)
    assert torch.equal(loaded(texts), network(texts))
    for name, value in network.state_dict().items():
        assert torch.equal(bits(loaded.state_dict()[name]), bits(value))
    again = read_foreign(tmp_path).states[""]  # as somebody's own weights
    assert torch.equal(again["embedding.weight"], table(kept, half))


def test_a_file_of_an_older_version_is_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"table": table()}, tmp_path / "x.safetensors")
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["table"], table())


def strings(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hashes = torch.randint(2**31 - 1, (6 * n,), dtype=torch.int32, generator=generator)
    return Ragged(hashes, torch.arange(0, 6 * n + 1, 6))


def test_rows_that_no_training_string_reads_are_zero_and_the_others_as_drawn():
    texts = strings(60)
    networks = []
    for make in (lambda: build(SPEC), lambda: build_for(SPEC, texts)):
        torch.manual_seed(7)
        networks.append(make().state_dict())
    drawn, found = (state.pop("embedding.weight") for state in networks)
    read = sorted({int(value) & 1023 for value in texts.values})
    expected = torch.zeros_like(drawn)
    expected[read] = drawn[read]
    assert 200 < len(read) < 400
    assert torch.equal(found, expected)
    assert all(torch.equal(networks[0][name], value) for name, value in networks[1].items())


def test_a_rounded_table_is_that_of_half_precision_except_where_none_fits():
    embedding = HashedEmbedding(2048, 4)
    with torch.no_grad():
        embedding.weight[5] = torch.tensor([1e6, -1e6, 1 / 3, 1e-9])
    before = embedding.weight.detach().clone()
    embedding.round()
    assert embedding.weight[5].tolist() == [1e6, -1e6, pytest.approx(1 / 3, rel=5e-4), 0]
    assert torch.equal(embedding.weight[:5], before[:5].half().float())


def test_a_file_is_on_the_disk_once_and_a_change_of_one_name_stays_there(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"x" * 100_000)
    alone = disk_use(tmp_path)
    copy_file(first, second)
    copy_file(first, second)  # onto itself
    assert first.samefile(second)
    assert disk_use(tmp_path) == alone >= 100_000
    assert sorted(os.listdir(tmp_path)) == ["first", "second"]
    with atomic_write(second) as temporary:
        temporary.write_text("new")
    assert first.read_bytes() == b"x" * 100_000


def test_a_file_is_copied_where_the_disk_has_no_links(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "first").write_text("weights")
    copy_file(tmp_path / "first", tmp_path / "second")
    assert (tmp_path / "second").read_text() == "weights"
    assert not (tmp_path / "first").samefile(tmp_path / "second")
