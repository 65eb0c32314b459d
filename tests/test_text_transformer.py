"""Transformers from a folder: their tokens, their heads, and what must not be executed."""

import json
import shutil
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_bert import MAX_TOKENS, NAMES, bert_folder, changed_config, texts, without

from specialists.config import Config
from specialists.datasets import encode
from specialists.datasets.base import Ragged
from specialists.datasets.tokens import check_tokenizer, encode_tokens, read_tokenizer
from specialists.errors import InputError
from specialists.feasibility import check_settings
from specialists.networks import NetworkSpec, build, load_network, save_network
from specialists.networks.build import build_for
from specialists.networks.save_pretrained import pretrained_options

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return bert_folder(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(shared, tmp_path):
    return shutil.copytree(shared, tmp_path / "bert")


@pytest.fixture(scope="module")
def rows(shared):
    return encode_tokens(read_tokenizer(shared), texts(6)[0])


def spec_of(folder, names=NAMES):
    options = pretrained_options(folder, "generalist.pretrained", names)
    return NetworkSpec("transformer", len(names), options=options)


def started(folder, names=NAMES, rows=None) -> Any:
    torch.manual_seed(0)
    return build_for(spec_of(folder, names), rows).eval()


def test_texts_are_the_tokens_of_the_folder_also_when_it_is_gone(folder):
    tokenizer = read_tokenizer(folder)
    shutil.rmtree(folder)
    rows = encode({"kind": "text", "tokenizer": tokenizer}, ["w1 w0", "", "w2 strange"])
    assert isinstance(rows, Ragged)
    assert [rows.row(i).tolist() for i in range(3)] == [[2, 6, 5, 3], [2, 3], [2, 7, 1, 3]]


@pytest.mark.parametrize(("limit", "longest"), [(None, MAX_TOKENS), (5, 5)])
def test_a_long_text_is_cut_and_keeps_its_last_special_token(shared, limit, longest):
    row = encode_tokens(read_tokenizer(shared, limit), ["w1 " * 60]).row(0)
    assert len(row) == longest
    assert row[-1] == 3


def test_a_row_is_computed_alike_whatever_stands_beside_it(shared, rows):
    network = started(shared)
    alone = torch.cat([network(rows[torch.tensor([i])]) for i in range(len(rows))])
    assert len(rows) > 64  # computed in several parts, by length
    torch.testing.assert_close(network(rows), alone, atol=1e-6, rtol=1e-5)


def test_a_network_is_read_back_when_its_folder_is_gone(folder, rows, tmp_path):
    network, spec = started(folder), spec_of(folder)
    save_network(network, spec, tmp_path / "saved")
    shutil.rmtree(folder)
    again, _, _ = load_network(tmp_path / "saved")
    assert torch.equal(again(rows), network(rows))


@pytest.mark.parametrize("names", [tuple(reversed(NAMES)), (*NAMES[3:], "other", *NAMES[:3])])
def test_a_head_with_the_names_of_the_classes_is_kept_in_their_order(tmp_path, names):
    from transformers import AutoModelForSequenceClassification

    folder = bert_folder(tmp_path / "bert", names=names)
    model = AutoModelForSequenceClassification.from_pretrained(str(folder)).eval()
    ids = torch.tensor([[2, 7, 9, 3]])
    whole = model(input_ids=ids).logits[:, [names.index(name) for name in NAMES]]
    row = Ragged(ids[0].int(), torch.tensor([0, 4]))
    torch.testing.assert_close(started(folder)(row), whole)


@pytest.mark.parametrize(
    "names", [None, ("x0", "x1", "x2"), tuple(f"LABEL_{i}" for i in range(12))]
)
def test_a_head_of_other_classes_is_drawn_anew(tmp_path, names):
    folder = bert_folder(tmp_path / "bert", names=names)
    first, second = started(folder), started(folder)
    assert torch.equal(first.model.classifier.weight, second.model.classifier.weight)
    assert first.model.classifier.out_features == len(NAMES)
    torch.manual_seed(1)
    other: Any = build_for(spec_of(folder), None)
    assert not torch.equal(first.model.classifier.weight, other.model.classifier.weight)
    assert torch.equal(first.model.bert.pooler.dense.weight, other.model.bert.pooler.dense.weight)


def test_no_code_of_the_folder_is_executed(folder, rows, tmp_path):
    code = f"open({str(tmp_path / 'executed')!r}, 'w')\n"
    (folder / "strange.py").write_text(code, encoding="utf-8")
    maps = {name: f"strange.{name}" for name in ("AutoConfig", "AutoTokenizer")}
    maps["AutoModelForSequenceClassification"] = "strange.Model"
    changed_config(folder, auto_map=maps, _attn_implementation="somebody/kernels")
    read_tokenizer(folder)
    started(folder)(rows)
    spec = spec_of(folder)
    strange: Any = {**spec.options, "config": json.loads((folder / "config.json").read_text())}
    for options in (spec.options, strange):
        network: Any = build(replace(spec, options=options))
        assert network.model.config._attn_implementation in ("sdpa", "eager")
    assert not (tmp_path / "executed").exists()


def message(call, *arguments):
    with pytest.raises(InputError) as error:
        call(*arguments)
    return str(error.value)


def test_a_folder_that_is_missing_is_told(tmp_path):
    assert "no such folder" in message(spec_of, tmp_path / "none")
    assert "no such folder" in message(read_tokenizer, tmp_path / "none")


def test_a_pickle_alone_is_refused_and_not_opened(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    told = message(spec_of, folder)
    assert "pickle" in told
    assert "model.safetensors" in told


@pytest.mark.parametrize(
    ("lost", "call", "told"),
    [
        ("model.safetensors", spec_of, "holds no weights"),
        ("config.json", spec_of, "what kind of transformer"),
        ("tokenizer.json", read_tokenizer, "holds no tokenizer"),
    ],
)
def test_what_a_folder_lacks_is_told(folder, lost, call, told):
    assert told in message(call, without(folder, lost))


def test_a_transformer_that_is_none_is_told(folder):
    assert "no transformer" in message(started, changed_config(folder, model_type="strange"))


def test_a_tokenizer_that_cannot_be_read_is_told(folder):
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert "cannot be read" in message(read_tokenizer, folder)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"vocab_size": 12}, "knows more tokens"),
        ({"max_position_embeddings": 4}, "data.max_tokens = 4"),
    ],
)
def test_a_transformer_for_other_tokens_is_told(tmp_path, rows, sizes, told):
    assert told in message(started, bert_folder(tmp_path / "bert", **sizes), NAMES, rows)


def test_a_student_with_another_tokenizer_is_refused(shared, folder):
    check_tokenizer(shared, {"tokenizer": read_tokenizer(folder, 7)})
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(text.replace('"w1":', '"v1":'), encoding="utf-8")
    preprocessing = {"tokenizer": read_tokenizer(shared)}
    assert "another tokenizer" in message(check_tokenizer, folder, preprocessing)
    assert "n-grams" in message(check_tokenizer, shared, {"char_ngrams": [1, 2]})


@pytest.mark.parametrize("module", ["transformers", "tokenizers"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(folder, module, monkeypatch):
    tokenizer, spec = read_tokenizer(folder), spec_of(folder)
    monkeypatch.setitem(sys.modules, module, None)
    calls = {
        "transformers": (build_for, spec, None),
        "tokenizers": (encode_tokens, f"{tokenizer} ", ["w1"]),
    }
    told = message(*calls[module])
    assert f"needs {module}" in told
    assert "specialist-distillation[hf]" in told


def settings(folder, **sections):
    values = {"data": {"table": str(folder / "config.json"), "text": "text"}}
    values["generalist"] = {"pretrained": str(folder)}
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return Config.from_dict(values)


def test_wrong_folders_are_told_before_anything_is_done(folder):
    check_settings(settings(folder))
    without(folder, "tokenizer.json")
    assert "holds no tokenizer" in message(check_settings, settings(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickle" in message(check_settings, settings(folder))


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"data": {"char_ngrams": [1, 2]}}, "texts are read as tokens"),
        ({"data": {"augment": True}}, "it drops n-grams"),
        ({"generalist": {"width": 8}}, "generalist.pretrained says what the network is"),
        ({"specialists": {"adapter_rank": 2}}, "specialists.adapter is not set"),
        (
            {"specialists": {"adapter": "lora", "widen": 2.0}},
            "keep the network of their gen",
        ),
        ({"data": {"text": None, "features": "numeric"}}, "it is for text only"),
    ],
)
def test_settings_without_effect_are_told(folder, sections, told):
    assert told in message(check_settings, settings(folder, **sections))


def test_a_transformer_has_defaults_of_its_own(folder):
    resolved = settings(folder, specialists={"adapter": "lora"}).resolve("text")
    assert resolved.generalist.learning_rate == 5e-5
    assert resolved.generalist.dropout is None
    assert resolved.specialists.freeze == ()
    assert resolved.data.tokenizer == str(folder)
    check_settings(resolved)


def test_missing_libraries_are_told_before_anything_is_done(folder, monkeypatch):
    monkeypatch.setattr("specialists.feasibility.check.find_spec", lambda name: None)
    told = message(check_settings, settings(folder, specialists={"adapter": "lora"}))
    assert "specialist-distillation[hf]" in told
    assert "specialist-distillation[peft]" in told


def test_weights_of_another_name_are_none_of_save_pretrained(folder):
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert "holds no weights" in message(spec_of, folder)
