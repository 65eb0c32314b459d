"""Heads of every class: found by size or by name, kept in specialists, or refused with a cure."""

import own_networks
import pytest
import torch
from own_networks import CosineHead, cosine
from torch import nn

from specialists.baselines.matching import head_share
from specialists.errors import InputError
from specialists.networks import (
    NetworkSpec,
    build,
    check_head_is_last,
    check_resizable,
    find_head,
    head_and_trunk,
    head_of,
    specialise_head,
)
from specialists.specialist import specialise

C, DIM = 5, 6
SUBSET = torch.tensor([4, 1])
X = torch.randn(7, DIM, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    """A head that is no linear layer: distances to a centre a class."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        self.n_in, self.n_classes = n_in, n_classes
        self.inner = nn.Linear(n_in, C)
        self.centres = nn.Parameter(torch.randn(n_classes, n_in))

    def forward(self, x):
        return -torch.cdist(x + 0 * self.inner(x).sum(), self.centres)

    def with_classes(self, n: int) -> nn.Module:
        return Own(self.n_in, n)


def convolutional(n_classes: int, kernel: int = 1) -> nn.Module:
    parts = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, n_classes, kernel)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def made(network: nn.Module) -> nn.Module:
    return network.eval()


NETWORKS = [
    (lambda: cosine(C), X, "2"),
    (lambda: convolutional(C), torch.randn(3, 1, 8, 8), "2"),
    (lambda: nn.Sequential(nn.Linear(DIM, 4), Own(4, C)), X, "1"),
]


@pytest.mark.parametrize(("make", "inputs", "name"), NETWORKS, ids=["cosine", "conv", "own"])
def test_a_specialist_keeps_the_class_of_its_generalist_s_head(make, inputs, name):
    torch.manual_seed(1)
    network = made(make())
    assert find_head(network, C) == name
    check_head_is_last(network, C, inputs)
    check_resizable(head_of(network, C))
    specialist = made(specialise(network, C, SUBSET))
    assert type(specialist.get_submodule(name)) is type(network.get_submodule(name))
    before, after = network(inputs), specialist(inputs)
    assert after.shape == (len(inputs), 3)
    torch.testing.assert_close(after[:, :2], before[:, SUBSET])


def test_a_cosine_head_keeps_its_scales_and_normalises_its_dustbin():
    network = cosine(C, factor=3.0)
    with torch.no_grad():
        network.get_parameter("2.scale").fill_(7.0)
    specialist = specialise(network, C, SUBSET)
    head = specialist.get_submodule("2")
    assert isinstance(head, CosineHead)
    assert (head.factor, head.scale.item(), head.out_features) == (3.0, 7.0, 3)
    torch.testing.assert_close(
        head.weight[-1], network.get_parameter("2.weight")[[0, 2, 3]].mean(0)
    )
    assert specialist(100 * X).abs().max().item() <= 21.0 + 1e-4


@pytest.mark.parametrize("k", [1, C - 1])
def test_a_dustbin_stands_for_what_is_left_whatever_its_number(k):
    network = cosine(C)
    before = network.get_parameter("2.weight").detach().clone()
    specialise_head(network, C, torch.arange(k))
    torch.testing.assert_close(network.get_parameter("2.weight")[-1], before[k:].mean(0))


def test_a_fresh_specialist_has_the_factory_s_head_too():
    spec = NetworkSpec("own_networks:cosine", C, (DIM,), n_outputs=3, options={"factor": 4.0})
    head = build(spec).get_submodule("2")
    assert isinstance(head, CosineHead)
    assert (head.factor, head.out_features) == (4.0, 3)


class Hidden(nn.Linear):
    """It keeps its argument under another name, so that a copy would lose it."""

    def __init__(self, in_features: int, out_features: int, factor: float = 1.0) -> None:
        super().__init__(in_features, out_features)
        self._times = factor

    def forward(self, input):
        return self._times * super().forward(input)


class Demanding(nn.Linear):
    def __init__(self, in_features: int, out_features: int, *, prototypes: object) -> None:
        super().__init__(in_features, out_features)


def normed() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(DIM, C))


@pytest.mark.parametrize(
    ("head", "got"),
    [
        (Hidden(DIM, C, 2.0), "a copy computes something else"),
        (Demanding(DIM, C, prototypes=None), "prototypes"),
        (normed(), "original0|copy lacks"),
    ],
    ids=["hidden", "demanding", "parametrised"],
)
def test_a_head_that_cannot_be_built_again_is_refused_and_never_replaced(head, got):
    network = nn.Sequential(nn.Tanh(), head)
    with pytest.raises(InputError, match=rf"(?s){got}.*with_classes\(n\)"):
        specialise(network, C, SUBSET)
    with pytest.raises(InputError, match="cannot be built again"):
        check_resizable(head)


def test_a_head_that_takes_no_hidden_argument_is_built_again():
    check_resizable(Hidden(DIM, C))


class TwoLayers(nn.Module):
    """Its head is not the last layer of its size, in the order of its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.ModuleDict({"out_proj": nn.Linear(DIM, C)})
        self.gate = nn.Linear(DIM, C)

    def forward(self, x):
        return self.classifier["out_proj"](x * self.gate(x).sigmoid().mean(-1, keepdim=True))


def two_layers(n_classes: int) -> nn.Module:
    return TwoLayers()


def test_a_head_is_found_by_its_name():
    spec = NetworkSpec("test_heads:two_layers", C, (DIM,), head="classifier.out_proj")
    network = build(spec)
    assert find_head(network, C) == "classifier.out_proj"
    check_head_is_last(network, C, X)
    assert specialise(network, C, SUBSET)(X).shape == (7, 3)
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(InputError, match="not those of 'gate'"):
        check_head_is_last(TwoLayers(), C, X)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("classifier.out", r"no part of this name(?s:.*)classifier.out_proj \(5\), gate \(5\)"),
        ("classifier", r"outputs are unknown(?s:.*)gate \(5\)"),
    ],
)
def test_a_wrong_path_is_told_with_the_paths_there_are(path, text):
    network = build(NetworkSpec("test_heads:two_layers", C, (DIM,), head=path))
    with pytest.raises(InputError, match=text):
        find_head(network, C)


def test_a_named_head_of_another_size_is_told():
    network = build(NetworkSpec("test_heads:two_layers", 3, (DIM,), head="gate"))
    with pytest.raises(InputError, match=r"gate \(5 outputs\)(?s:.*)one of 3 outputs"):
        find_head(network, 3)


class After(nn.Module):
    def __init__(self, change, times: int = 1) -> None:
        super().__init__()
        self.head, self.change, self.times = nn.Linear(DIM, C), change, times

    def forward(self, x):
        logits = [self.head(x) for _ in range(self.times)]
        return self.change(logits[-1])


@pytest.mark.parametrize(
    ("network", "got"),
    [
        (After(lambda z: z.log_softmax(-1)), "the log-softmax of the outputs of 'head'"),
        (After(lambda z: z.softmax(-1)), "the softmax of the outputs of 'head'"),
        (After(lambda z: 30 * z), "outputs that are not those of 'head'"),
        (After(lambda z: z, times=2), "calls 2 times, not once, 'head'"),
        (After(lambda z: z, times=1), None),
    ],
)
def test_what_a_network_does_after_its_head_is_told(network, got):
    if got is None:
        check_head_is_last(network, C, X)
        return
    with pytest.raises(InputError, match=rf"does not end in its head(?s:.*){got}"):
        check_head_is_last(network, C, X)


def test_a_wider_convolution_is_no_head():
    with pytest.raises(InputError, match="no head"):
        find_head(convolutional(C, kernel=2), C)


def test_shared_specialists_need_a_plain_head():
    with pytest.raises(InputError, match=r"plain nn.Linear(?s:.*)CosineHead(?s:.*)clusters"):
        head_and_trunk(cosine(C), C)


def test_the_share_of_a_head_in_the_cost_is_known_of_linear_ones():
    assert head_share(cosine(C), C, X) == pytest.approx(16 * C / (16 * C + DIM * 16))
    assert head_share(convolutional(C), C, torch.randn(3, 1, 8, 8)) == 0.0
    assert own_networks.N_CLASSES == 12
