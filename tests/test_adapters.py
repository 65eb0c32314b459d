"""Specialists as adapters: what they share, what is their own, and what they compute."""

import sys
from collections import OrderedDict
from typing import Any

import pytest
import torch
from tiny_bert import NAMES, bert_folder, texts
from torch import nn

from specialists.config import Recipe, SpecialistsConfig
from specialists.datasets.tokens import encode_tokens, read_tokenizer
from specialists.errors import InputError
from specialists.files import write_tensors
from specialists.networks import (
    Adapters,
    NetworkSpec,
    adapted,
    cut_below,
    inference_flops,
    merged,
    n_parameters,
    own_parameters,
)
from specialists.networks.save_pretrained import pretrained_options, pretrained_transformer
from specialists.networks.text_transformer import TextTransformer, TransformerTrunk
from specialists.runtime import Hardware
from specialists.training import TensorExamples, Trainer, ValidationLoss, loop

pytest.importorskip("peft")

N_CLASSES = len(NAMES)
NO_TOKENS = dict.fromkeys(("eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id"))
NO_TOKENS |= {"pad_token_id": 0}
SUBSET = torch.tensor([1, 4, 5])


def settings(**changes):
    return SpecialistsConfig.model_validate({"adapter": "lora", "adapter_rank": 4, **changes})


def adapters_in(network, **changes) -> Any:
    return Adapters.of(network, N_CLASSES, settings(**changes))


def cut(network, adapters) -> tuple[Any, Any]:
    return cut_below(network, adapters)


def transformer(folder):
    options = pretrained_options(folder, "generalist.pretrained")
    torch.manual_seed(0)
    spec = NetworkSpec("transformer", N_CLASSES, options=options)
    rows = encode_tokens(read_tokenizer(folder), texts(6)[0])
    return pretrained_transformer(spec, rows).eval(), rows


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return transformer(bert_folder(folder, hidden_size=256, intermediate_size=512))


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory):
    return transformer(bert_folder(tmp_path_factory.mktemp("two"), layers=2))


def with_trained_adapters(upper, adapters, seed=0):
    """A specialist whose adapters and head are as if they had been trained."""
    specialist = adapted(upper, N_CLASSES, SUBSET, adapters)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in specialist.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return specialist.eval()


def test_adapters_take_a_twentieth_of_the_generalist_and_predict_as_full_copies(
    one_layer, tmp_path
):
    generalist, rows = one_layer
    adapters = adapters_in(generalist)
    lower, upper = cut(generalist, adapters)
    assert lower is None
    specialists = [with_trained_adapters(upper, adapters, seed) for seed in range(3)]
    write_tensors(tmp_path / "generalist", generalist.state_dict())
    sizes = []
    untrained = adapted(upper, N_CLASSES, SUBSET, adapters)(rows)
    for i, specialist in enumerate(specialists):
        write_tensors(tmp_path / f"{i}", specialist.state_dict())
        sizes.append((tmp_path / f"{i}").stat().st_size)
        full = merged(specialist)
        torch.testing.assert_close(specialist(rows), full(rows), atol=1e-5, rtol=0)
        assert (specialist(rows) - untrained).abs().max() > 0.1
        shared = {p.data_ptr() for p in generalist.parameters()}
        assert not shared & {p.data_ptr() for p in full.parameters()}
    assert sum(sizes) < 0.05 * (tmp_path / "generalist").stat().st_size


def test_specialists_share_the_memory_of_their_generalist(one_layer):
    generalist, _ = one_layer
    adapters = adapters_in(generalist)
    _, upper = cut(generalist, adapters)
    specialists = [adapted(upper, N_CLASSES, SUBSET, adapters) for _ in range(3)]
    together = nn.ModuleList([upper, *specialists])
    own = sum(map(own_parameters, specialists))
    assert n_parameters(together) == n_parameters(generalist) + own
    in_state = sum(v.numel() for v in specialists[0].state_dict().values())
    assert 3 * in_state == own
    assert not any(p.requires_grad for p in generalist.parameters())


def test_a_specialist_starts_as_its_generalist_of_the_subset(two_layers):
    generalist, rows = two_layers
    adapters = adapters_in(generalist)
    lower, upper = cut(generalist, adapters)
    start = adapted(upper, N_CLASSES, SUBSET, adapters).eval()
    torch.testing.assert_close(start(lower(rows))[:, :-1], generalist(rows)[:, SUBSET])


def test_the_blocks_below_the_adapters_are_computed_once(two_layers):
    generalist, rows = two_layers
    adapters = adapters_in(generalist)
    assert all(".layer.1." in name for name in adapters.layers)
    lower, upper = cut(generalist, adapters)
    assert isinstance(lower, TransformerTrunk)
    features = lower(rows)
    assert torch.equal(features.offsets, rows.offsets)
    torch.testing.assert_close(upper(features), generalist(rows), atol=1e-6, rtol=1e-5)
    specialist = with_trained_adapters(upper, adapters)
    parts = [inference_flops(lower, rows), inference_flops(upper, features)]
    assert sum(parts) == inference_flops(generalist, rows)
    own = inference_flops(specialist, features)
    assert parts[1] < own < inference_flops(generalist, rows) * 0.65
    uncut = adapted(generalist, N_CLASSES, SUBSET, adapters).eval()
    uncut.load_state_dict(specialist.state_dict())
    torch.testing.assert_close(uncut(rows), specialist(features), atol=1e-5, rtol=0)


def test_adapters_of_all_blocks_leave_nothing_to_be_computed_once(two_layers):
    generalist, _ = two_layers
    adapters = adapters_in(generalist, adapter_blocks=2)
    assert len(adapters.layers) == 4
    lower, upper = cut(generalist, adapters)
    assert lower is None
    assert upper is generalist


@pytest.mark.parametrize("kind", ["DistilBert", "Roberta", "GPT2", "ModernBert"])
def test_other_transformers_are_cut_where_they_can_be(kind):
    import transformers

    sizes = {"DistilBert": {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2}}
    usual = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    usual |= {"num_hidden_layers": 2}
    sizes["GPT2"] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 40}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=40, num_labels=N_CLASSES, **NO_TOKENS, **sizes.get(kind, usual)
    )
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    network = TextTransformer(model, 0).eval()
    rows = encode_rows()
    adapters = adapters_in(network)
    lower, upper = cut(network, adapters)
    assert isinstance(lower, TransformerTrunk)
    torch.testing.assert_close(upper(lower(rows)), network(rows), atol=1e-5, rtol=1e-4)
    specialist = with_trained_adapters(upper, adapters)
    torch.testing.assert_close(
        specialist(lower(rows)), merged(specialist)(lower(rows)), atol=1e-5, rtol=0
    )


def encode_rows():
    from specialists.datasets.base import Ragged

    lengths = torch.tensor([0, 3, 8, 9, 14])
    return Ragged(torch.randint(1, 40, (14,), dtype=torch.int32), lengths)


def chain():
    torch.manual_seed(0)
    parts = OrderedDict[str, nn.Module](below=nn.Linear(5, 6), relu=nn.ReLU())
    parts |= {"above": nn.Linear(6, 7), "relu2": nn.ReLU(), "head": nn.Linear(7, N_CLASSES)}
    return nn.Sequential(parts).eval()


class Branches(nn.Module):
    """No chain: it cannot be cut."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(5, 6), nn.Linear(5, 6)
        self.head = nn.Linear(6, N_CLASSES)

    def forward(self, x):
        return self.head(torch.relu(self.one(x)) + self.other(x))


@pytest.mark.parametrize(("network", "is_cut"), [(chain(), True), (Branches(), False)])
def test_any_network_has_adapters_in_its_upper_half(network, is_cut):
    x = torch.randn(9, 5)
    before = network(x).detach()
    adapters = adapters_in(network)
    assert adapters.layers == (("above",) if is_cut else ("other",))
    lower, upper = cut(network, adapters)
    assert (lower is not None) == is_cut
    features = lower(x) if is_cut else x
    specialist = with_trained_adapters(upper, adapters)
    torch.testing.assert_close(specialist(features), merged(specialist)(features))
    assert torch.equal(network(x), before)


def test_training_changes_nothing_but_what_is_its_own(two_layers):
    generalist, rows = two_layers
    adapters = adapters_in(generalist)
    lower, upper = cut(generalist, adapters)
    before = {k: v.clone() for k, v in generalist.state_dict().items()}
    specialist = adapted(upper, N_CLASSES, SUBSET, adapters)
    optimiser = torch.optim.SGD([p for p in specialist.parameters() if p.requires_grad], lr=0.1)
    specialist.train()(lower(rows)).logsumexp(1).sum().backward()
    optimiser.step()
    assert all(torch.equal(before[k], v) for k, v in generalist.state_dict().items())
    assert all(p.grad is None for p in generalist.parameters())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"adapter_targets": ["strange"]}, "no layers to adapt"),
        ({"adapter_blocks": 3}, "not so many blocks"),
    ],
)
def test_layers_that_there_are_not_are_told(changes, told):
    with pytest.raises(InputError, match=told):
        adapters_in(chain(), **changes)


def test_named_layers_are_adapted():
    adapters = adapters_in(chain(), adapter_targets=["below"])
    assert adapters.layers == ("below",)


def test_a_state_that_lacks_a_part_of_its_own_is_refused(two_layers):
    generalist, _ = two_layers
    adapters = adapters_in(generalist)
    specialist = adapted(cut(generalist, adapters)[1], N_CLASSES, SUBSET, adapters)
    state = specialist.state_dict()
    state.pop(next(iter(state)))
    with pytest.raises(RuntimeError, match="Missing key"):
        specialist.load_state_dict(state)


def test_adapters_without_their_library_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    adapters = Adapters(4, ("above",))
    with pytest.raises(InputError, match=r"specialist-distillation\[peft\]"):
        adapted(chain(), N_CLASSES, SUBSET, adapters)


@pytest.mark.parametrize("changes", [{"start": "fresh"}, {"freeze": ["above"]}, {"kind": "shared"}])
def test_adapters_are_of_the_generalist_alone(changes):
    with pytest.raises(ValueError, match="adapter needs"):
        settings(**changes)


def test_an_interrupted_training_of_adapters_goes_on_and_keeps_only_what_is_its_own(
    two_layers, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    generalist, rows = two_layers
    adapters = adapters_in(generalist)
    lower, upper = cut(generalist, adapters)
    features, labels = lower(rows), torch.arange(len(rows)) % (len(SUBSET) + 1)
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=1e-2)
    judge = ValidationLoss(features, labels)

    def trainer(name, validate: loop.Validation = judge):
        torch.manual_seed(3)
        network = adapted(upper, N_CLASSES, SUBSET, adapters)
        about = {"seed": 1, "hardware": Hardware("cpu", "float32"), "folder": tmp_path / name}
        examples = TensorExamples(features, (labels,))
        return Trainer(network, examples, nn.functional.cross_entropy, validate, recipe, **about)

    def stopping(network):
        if calls.pop():
            raise KeyboardInterrupt
        return judge(network)

    calls, whole = [True, False, False], trainer("whole")
    expected = whole.fit()
    with pytest.raises(KeyboardInterrupt):
        trainer("broken", stopping).fit()
    checkpoint = (tmp_path / "broken" / "checkpoint.pt").stat().st_size
    assert checkpoint < 4 * n_parameters(generalist)
    resumed = trainer("broken")
    assert resumed.fit() == expected
    states = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
