"""Heads found and swapped, networks cut, frozen and widened, counted by hand, read as data only."""

import dataclasses

import pytest
import small_run
import torch
from torch import nn

from specialists.datasets.base import Ragged
from specialists.errors import ConfigError, InputError
from specialists.files import EVERYTHING, trusting
from specialists.networks import (
    HashedEmbedding,
    NetworkSpec,
    build,
    check_head_is_last,
    find_head,
    inference_flops,
    largest_width,
    load_network,
    merge_bottleneck,
    n_parameters,
    outline,
    read_spec,
    save_network,
    specialise_head,
    split_frozen,
    widen,
    with_allowed_rank,
)
from specialists.networks.blocks import QuickDropout
from specialists.networks.heads import swap_head

TEXT = NetworkSpec("hashed_text", 5, (), width=6, depth=2, embedding_dim=4, n_buckets=16)
MLP = NetworkSpec("mlp", 5, (3,), width=6, depth=2)
RESNET = NetworkSpec("resnet", 5, (1, 28, 28), width=16, depth=2)
FACTORY = NetworkSpec("small_run:branched", 5, (small_run.DIM,), options={"width": 7})
SHIPPED = [TEXT, MLP, RESNET]
CHEAP = [dataclasses.replace(spec, head_rank=2) for spec in SHIPPED]
EVERY = [*SHIPPED, *CHEAP, FACTORY]


def name_of(spec: NetworkSpec) -> str:
    return spec.model if spec.head_rank is None else f"{spec.model}, cheap head"


def inputs_of(spec: NetworkSpec, n: int = 4):
    generator = torch.Generator().manual_seed(1)
    if spec.model == "hashed_text":
        offsets = torch.tensor([0, *torch.arange(1, n + 1).cumsum(0).tolist()])
        values = torch.randint(2**31 - 1, (int(offsets[-1]),), generator=generator)
        return Ragged(values.to(torch.int32), offsets)
    if spec.model == "resnet":
        shape = (n, *spec.input_shape)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn(n, *spec.input_shape, generator=generator)


def made(spec: NetworkSpec) -> nn.Module:
    torch.manual_seed(0)
    network = build(spec)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            module.running_mean = torch.rand(module.num_features)
    return network.eval()


@pytest.mark.parametrize(
    ("spec", "head"), [(s, "head") for s in [*SHIPPED, *CHEAP]] + [(FACTORY, "out")]
)
def test_the_head_is_the_last_linear_layer_with_an_output_a_class(spec, head):
    network = made(spec)
    assert find_head(network, 5) == head
    swap_head(network, 5, 3)
    assert network(inputs_of(spec)).shape == (4, 3)


def test_of_several_layers_as_wide_as_the_classes_the_last_is_the_head():
    network = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5, bias=False), nn.Identity())
    assert find_head(network, 5) == "2"
    assert swap_head(network, 5, 2).bias is None


def test_a_missing_head_is_told_with_the_layers_that_there_are():
    with pytest.raises(InputError, match=r"(?s)out \(5\).*6 outputs"):
        find_head(made(FACTORY), 6)


def test_a_bare_linear_layer_is_refused_with_a_way_out():
    with pytest.raises(InputError, match="Sequential"):
        find_head(nn.Linear(3, 5), 5)


def linear(network: nn.Module, n_outputs: int) -> nn.Linear:
    head = network.get_submodule(find_head(network, n_outputs))
    assert isinstance(head, nn.Linear)
    return head


@pytest.mark.parametrize("spec", EVERY, ids=name_of)
def test_a_specialists_head_starts_from_the_generalists_rows(spec):
    network, subset = made(spec), torch.tensor([4, 1])
    before = network(inputs_of(spec)).detach()
    old = linear(network, 5)
    specialise_head(network, 5, subset)
    after = network(inputs_of(spec)).detach()
    torch.testing.assert_close(after[:, :2], before[:, subset])
    new = linear(network, 3)
    torch.testing.assert_close(new.weight[-1], old.weight[[0, 2, 3]].mean(0))
    torch.testing.assert_close(new.bias[-1], old.bias[[0, 2, 3]].logsumexp(0))


@pytest.mark.parametrize("spec", [*SHIPPED, *CHEAP], ids=name_of)
@pytest.mark.parametrize("n_outputs", [None, 3])
def test_a_widened_network_computes_the_same(spec, n_outputs):
    network = made(spec)
    if n_outputs:
        swap_head(network, 5, n_outputs)
    narrow = dataclasses.replace(spec, n_outputs=n_outputs)
    wide, wider = widen(network, narrow, 3 * spec.width)
    assert wider.width == 3 * spec.width
    assert n_parameters(wide, tables=False) > n_parameters(network, tables=False)
    inputs = inputs_of(spec)
    torch.testing.assert_close(wide.eval()(inputs), network(inputs), rtol=1e-4, atol=1e-5)


def test_new_units_of_a_widened_network_learn():
    wide, _ = widen(made(MLP), MLP, 12)
    wide(inputs_of(MLP)).square().sum().backward()
    gradient = linear(wide, 5).weight.grad
    assert gradient is not None
    assert bool((gradient[:, 6:] != 0).any())


@pytest.mark.parametrize(("spec", "width"), [(MLP, 5), (FACTORY, 9)])
def test_what_cannot_be_widened_is_refused(spec, width):
    with pytest.raises(ConfigError, match="width"):
        widen(made(spec), spec, width)


@pytest.mark.parametrize(
    ("spec", "freeze", "below"),
    [
        (TEXT, ["embedding"], ["embedding"]),
        (MLP, ["hidden1"], ["hidden1", "relu1"]),
        (MLP, ["hidden1", "hidden2"], ["hidden1", "relu1", "hidden2", "relu2"]),
        (RESNET, ["stem", "stage1"], ["pixels", "stem", "stage1"]),
        (CHEAP[0], ["embedding", "hidden", "bottleneck"], ["embedding", "hidden", "bottleneck"]),
        (CHEAP[1], ["hidden1"], ["hidden1", "relu1"]),
    ],
)
def test_a_chain_is_cut_above_its_frozen_parts_and_computes_the_same(spec, freeze, below):
    network, inputs = made(spec), inputs_of(spec)
    expected = network(inputs)
    lower, upper = split_frozen(network, freeze)
    assert lower is not None
    assert [name for name, _ in lower.named_children()] == below
    assert not any(p.requires_grad for p in lower.parameters())
    assert all(p.requires_grad for p in upper.parameters())
    torch.testing.assert_close(upper(lower(inputs)), expected)


@pytest.mark.parametrize(("spec", "freeze"), [(MLP, []), (MLP, ["hidden2"]), (FACTORY, ["stem"])])
def test_what_is_not_a_frozen_beginning_of_a_chain_stays_whole(spec, freeze):
    network = made(spec)
    lower, upper = split_frozen(network, freeze)
    assert lower is None
    assert upper is network
    frozen = {name.split(".")[0] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == set(freeze)


def test_what_a_factory_froze_stays_frozen():
    network = made(FACTORY)
    network.get_submodule("branch").requires_grad_(False)
    split_frozen(network, ["stem"])
    assert not network.get_parameter("branch.weight").requires_grad


@pytest.mark.parametrize(
    ("freeze", "message"), [(["hiden1"], "hidden1"), (["hidden1", "hidden2", "head"], "every part")]
)
def test_freezing_what_is_not_there_or_everything_is_refused(freeze, message):
    with pytest.raises(ConfigError, match=message):
        split_frozen(made(MLP), freeze)


def test_parameters_are_counted_with_and_without_tables():
    upper = (4 * 6 + 6) + (6 * 6 + 6) + ((4 + 6) * 5 + 5)
    assert n_parameters(made(TEXT), tables=False) == upper
    assert n_parameters(made(TEXT)) == upper + 16 * 4
    assert n_parameters(outline(TEXT)) == n_parameters(made(TEXT))


def test_flops_of_a_perceptron_are_two_a_multiply_add():
    assert inference_flops(made(MLP), inputs_of(MLP)) == 2 * (3 * 6 + 6 * 6 + 6 * 5)


def test_flops_of_an_embedding_bag_are_one_a_summed_number():
    network = made(TEXT).train()
    mean_length = (1 + 2 + 3 + 4) / 4
    expected = mean_length * 4 + 2 * (4 * 6 + 6 * 6 + (4 + 6) * 5)
    assert inference_flops(network, inputs_of(TEXT)) == expected
    assert network.training


def test_flops_of_a_residual_network_are_those_of_its_convolutions():
    spec = NetworkSpec("resnet", 5, (1, 28, 28), width=16, depth=1)
    stage1 = 2 * (9 * 4 * 4) * 14 * 14
    stage2 = (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8) * 7 * 7
    stage3 = (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16) * 4 * 4
    stem, head = 9 * 1 * 4 * 14 * 14, 16 * 4 * 4 * 5
    expected = 2 * (stem + stage1 + stage2 + stage3 + head)
    assert inference_flops(made(spec), inputs_of(spec)) == expected


@pytest.mark.parametrize("spec", CHEAP, ids=name_of)
def test_a_cheap_head_costs_rank_times_features_and_classes(spec):
    full = dataclasses.replace(spec, head_rank=None)
    n_in = linear(made(full), 5).in_features
    saved = n_in * 5 - (n_in + 5) * 2
    assert saved > 0
    inputs = inputs_of(spec)
    flops = [inference_flops(made(s), inputs) for s in (full, spec)]
    assert flops[0] - flops[1] == 2 * saved
    assert n_parameters(made(full)) - n_parameters(made(spec)) == saved


@pytest.mark.parametrize("spec", CHEAP, ids=name_of)
def test_a_merged_head_computes_the_same_in_one_layer(spec):
    network, inputs = made(spec), inputs_of(spec)
    before = network(inputs).detach()
    specialise_head(network, 5, torch.tensor([4, 1]))
    specialised = network(inputs).detach()
    n_in = network.get_submodule("bottleneck").in_features
    merged = merge_bottleneck(network)
    torch.testing.assert_close(network(inputs), specialised, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network(inputs)[:, :2], before[:, [4, 1]], rtol=1e-5, atol=1e-5)
    assert (merged.in_features, merged.out_features) == (n_in, 3)
    plain = build(dataclasses.replace(spec, head_rank=None, n_outputs=3))
    plain.load_state_dict(network.state_dict())


@pytest.mark.parametrize(("rank", "largest"), [(0, 2), (3, 2), (5, 2), (40, 2)])
def test_a_rank_that_saves_nothing_is_refused_with_the_largest_that_does(rank, largest):
    # 6 features, 5 classes: 2 (6 + 5) < 6 * 5 <= 3 (6 + 5)
    with pytest.raises(ConfigError, match=f"at most {largest}"):
        build(dataclasses.replace(MLP, head_rank=rank))
    build(dataclasses.replace(MLP, head_rank=largest))


def test_a_rank_is_dropped_where_the_width_does_not_allow_it():
    cheap = dataclasses.replace(MLP, head_rank=2)
    assert with_allowed_rank(cheap) is cheap
    assert with_allowed_rank(MLP) is MLP
    narrow = dataclasses.replace(cheap, width=2, n_outputs=3)
    assert with_allowed_rank(narrow) == dataclasses.replace(MLP, width=2, n_outputs=3)


def test_a_cheap_head_of_a_network_of_ones_own_is_refused():
    with pytest.raises(ConfigError, match="its own head"):
        build(dataclasses.replace(FACTORY, head_rank=2))


def test_a_description_without_a_rank_is_as_it_always_was():
    assert "head_rank" not in MLP.to_dict()
    assert NetworkSpec.from_dict(MLP.to_dict()) == MLP
    assert NetworkSpec.from_dict(CHEAP[1].to_dict()) == CHEAP[1]


def test_a_hashed_table_has_sparse_gradients_in_the_rows_that_were_read():
    table = HashedEmbedding(8, 3)
    table(Ragged(torch.tensor([1, 9, 17, 6], dtype=torch.int32), torch.tensor([0, 2, 4]))).sum()
    bags = table(Ragged(torch.tensor([1, 9, 14], dtype=torch.int32), torch.tensor([0, 2, 2, 3])))
    torch.testing.assert_close(
        bags, torch.stack([table.weight[1], torch.zeros(3), table.weight[6]])
    )
    bags.sum().backward()
    gradient = table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices().flatten().tolist()) == {1, 6}


@pytest.mark.parametrize("spec", EVERY, ids=name_of)
def test_a_saved_network_comes_back_the_same_with_what_was_told_of_it(spec, tmp_path):
    network = made(spec)
    save_network(network, spec, tmp_path, temperature=2.0)
    with trusting(EVERYTHING):
        again, about, extra = load_network(tmp_path)
    assert about == spec
    assert extra == {"temperature": 2.0}
    torch.testing.assert_close(again(inputs_of(spec)), network(inputs_of(spec)))


@pytest.mark.parametrize("spec", [*SHIPPED, *CHEAP], ids=name_of)
def test_a_network_is_loaded_into_memory_of_its_own_and_nothing_is_drawn(spec, tmp_path):
    network = made(spec)
    save_network(network, spec, tmp_path)
    before = torch.get_rng_state()
    again, _, _ = load_network(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    file = tmp_path / "weights.safetensors"
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert read_spec(tmp_path) == spec
    for name, value in network.state_dict().items():
        found = again.state_dict()[name]
        assert torch.equal(found, value)
        assert (found.stride(), found.dtype) == (value.stride(), value.dtype)


def test_an_outline_of_a_factory_keeps_what_no_state_dict_holds():
    network = outline(FACTORY)
    network.load_state_dict(made(FACTORY).state_dict(), assign=True)
    torch.testing.assert_close(
        network.eval()(inputs_of(FACTORY)), made(FACTORY)(inputs_of(FACTORY))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mpl"}, "no such model"),
        ({"model": "hashed_text", "n_buckets": 12}, "for instance 16"),
        ({"model": "no_such_module:f"}, "cannot be imported"),
        ({"model": "small_run:no_such_function"}, "cannot be imported"),
        (
            {"model": "small_run:features", "options": {"n_per_class": 1, "seed": 0}},
            "cannot be called",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_told(changes, message):
    with pytest.raises(InputError, match=message):
        build(NetworkSpec.from_dict({**MLP.to_dict(), **changes}))


def test_the_largest_width_that_fits_is_found():
    assert largest_width(MLP, lambda spec: spec.width**2 <= 1000) == 31
    assert largest_width(MLP, lambda spec: False) == 1


def test_no_network_far_too_wide_is_built_to_find_the_largest_width():
    tried = []

    def fits(spec):
        tried.append(spec.width)
        return spec.width <= 100

    assert largest_width(MLP, fits, low=48) == 100
    assert max(tried) <= 200


def test_a_factory_in_the_current_folder_is_found(tmp_path, monkeypatch):
    text = (
        "from torch import nn\n\n\ndef make(n_classes):\n    return nn.Sequential(nn.Linear(3, {}))"
    )
    (tmp_path / "my_own_network.py").write_text(text.format("n_classes"))
    (tmp_path / "my_headless_network.py").write_text(text.format(3))
    monkeypatch.chdir(tmp_path)
    assert isinstance(build(NetworkSpec("my_own_network:make", 4)), nn.Sequential)
    headless = build(NetworkSpec("my_headless_network:make", 4))
    with pytest.raises(InputError, match="no head"):
        check_head_is_last(headless, 4, torch.zeros(2, 3))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_that_it_is_told_and_the_expectation(p):
    torch.manual_seed(3)
    layer, ones = QuickDropout(p), torch.ones(999, 301, requires_grad=True)
    dropped = layer(ones)
    kept = dropped > 0
    assert kept.float().mean() == pytest.approx(1 - p, abs=0.005)
    assert (kept.reshape(-1)[: 4 * 75_000].view(-1, 4).float().mean(0) - 1 + p).abs().max() < 0.01
    assert dropped[kept].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-4)
    (slope,) = torch.autograd.grad(dropped.sum(), ones)
    assert torch.equal(slope, dropped)
    torch.manual_seed(3)
    assert torch.equal(layer(ones), dropped)
    assert not torch.equal(layer(ones), dropped)


@pytest.mark.parametrize("p", [0.0, 1e-9, 1.0])
@pytest.mark.parametrize("shape", [(), (0, 4), (3, 5)])
def test_dropout_of_nothing_and_of_all_is_torch_s(p, shape):
    x = torch.full(shape, 2.0)
    assert torch.equal(QuickDropout(p)(x), x if p < 0.5 else torch.zeros(shape))
    assert torch.equal(QuickDropout(0.5).eval()(x), x)
    assert QuickDropout(0.5)(x.to(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_table_is_shared_by_what_is_widened_and_one_that_learns_is_not(frozen):
    network = made(TEXT)
    table = network.get_parameter("embedding.weight").requires_grad_(not frozen)
    wide, _ = widen(network, TEXT, 12)
    torch.testing.assert_close(wide.eval()(inputs_of(TEXT)), network(inputs_of(TEXT)))
    assert (wide.get_parameter("embedding.weight") is table) == frozen
    assert torch.equal(wide.get_parameter("embedding.weight"), table)


def test_a_network_around_a_table_draws_all_but_that():
    table = HashedEmbedding(16, 4)
    before = table.weight.detach().clone()
    torch.manual_seed(3)
    first = build(TEXT, table)
    torch.manual_seed(3)
    state, again = first.state_dict(), build(TEXT, table).state_dict()
    assert first.embedding is table
    assert torch.equal(table.weight, before)
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert {key: value.shape for key, value in build(TEXT).state_dict().items()} == {
        key: value.shape for key, value in state.items()
    }
    assert build(MLP, table).state_dict().keys() == build(MLP).state_dict().keys()
