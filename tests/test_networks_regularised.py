"""Bounded weights, dropout of inputs, and pixels as numbers from 0 to 1."""

import pytest
import torch

from specialists.errors import InputError
from specialists.networks import NetworkSpec, build, find_head
from specialists.networks.regularised import FlatPixels, MaxNormLinear, regularised_mlp
from specialists.specialist import specialise

FACTORY = "specialists.networks.regularised:regularised_mlp"


def test_longer_rows_are_shortened_and_keep_their_direction():
    layer = MaxNormLinear(2, 2, max_norm=5.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[6.0, 8.0], [0.3, 0.4]]))
    layer(torch.zeros(1, 2))
    torch.testing.assert_close(layer.weight.data, torch.tensor([[3.0, 4.0], [0.3, 0.4]]))


def test_the_bound_holds_after_steps_that_would_break_it():
    torch.manual_seed(0)
    layer = MaxNormLinear(3, 4, max_norm=0.5)
    optimiser = torch.optim.SGD(layer.parameters(), lr=10.0)
    for _ in range(3):
        optimiser.zero_grad()
        layer(torch.randn(8, 3)).square().sum().backward()
        optimiser.step()
    layer.eval()(torch.zeros(1, 3))
    assert float(layer.weight.norm(dim=1).max().detach()) <= 0.5 + 1e-6


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf"), float("nan")])
def test_a_bound_is_positive_and_finite(bound):
    with pytest.raises(InputError, match="no positive finite number"):
        MaxNormLinear(2, 2, bound)


def test_bytes_become_numbers_from_0_to_1_and_others_stay():
    images = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    torch.testing.assert_close(FlatPixels()(images), torch.tensor([[0.0, 1.0, 0.2, 0.4]]))
    features = torch.tensor([[-3.0, 700.0]])
    assert torch.equal(FlatPixels()(features), features)


def test_inputs_and_units_are_dropped_in_training_alone():
    torch.manual_seed(0)
    network = regularised_mlp(3, (1, 4, 4), width=64, dropout=0.5, input_dropout=0.5)
    x = torch.rand(2, 1, 4, 4)
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))
    dropped = network.train().get_submodule("input_dropout")(torch.ones(2000))
    assert float((dropped == 0).double().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("bound", "kind"), [(2.0, MaxNormLinear), (None, torch.nn.Linear)])
def test_hidden_layers_are_bounded_if_asked_and_the_head_never(bound, kind):
    network = regularised_mlp(3, (5,), width=8, depth=3, max_norm=bound)
    assert [type(network.get_submodule(f"hidden{i}")) for i in (1, 2, 3)] == [kind] * 3
    assert type(network.get_submodule("head")) is torch.nn.Linear


def test_it_is_a_factory_whose_head_can_be_swapped():
    spec = NetworkSpec(FACTORY, 4, (5,), options={"input_shape": [5], "width": 8})
    network = build(spec)
    assert find_head(network, 4) == "head"
    specialist = specialise(network, 4, torch.tensor([1, 3]))
    assert specialist(torch.zeros(2, 5)).shape == (2, 3)


def test_weights_are_bounded_wherever_they_may_have_moved():
    layer = MaxNormLinear(3, 4, max_norm=0.5)
    with torch.no_grad():
        layer(torch.ones(1, 3))
        layer.weight.fill_(9)
    layer(torch.ones(1, 3))
    assert layer.weight.norm(dim=1).max() < 0.51
    with torch.no_grad():
        layer.weight.fill_(9)
        layer(torch.ones(1, 3))
    assert layer.weight.norm(dim=1).max() < 0.51


def test_a_teacher_s_weights_are_not_measured_again(monkeypatch):
    layer, times = MaxNormLinear(3, 4, max_norm=0.5).eval(), []
    monkeypatch.setattr(layer, "_shorten", lambda: times.append(1))
    with torch.no_grad():
        for _ in range(5):
            layer(torch.ones(1, 3))
    assert len(times) == 1
