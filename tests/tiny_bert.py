"""A randomly initialised BERT of one layer or two with its tokenizer, in a folder, and texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

FAMILIES, MEMBERS = 3, 4
NAMES = tuple(f"{family}{member}" for family in "xyz" for member in range(MEMBERS))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = tuple(f"w{i}" for i in range(FAMILIES + len(NAMES) + 20))
MAX_TOKENS = 24


def bert_folder(
    folder: Path, layers: int = 1, names: tuple[str, ...] | None = None, **sizes: Any
) -> Path:
    """What ``save_pretrained`` of a BERT and its tokenizer writes; its head knows ``names``."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    transformers.utils.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    labels = {} if names is None else {"id2label": dict(enumerate(names)), "num_labels": len(names)}
    config = transformers.BertConfig(
        **{
            "vocab_size": len(SPECIAL) + len(WORDS),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": layers,
            "num_attention_heads": 2,
            "max_position_embeddings": MAX_TOKENS,
            **labels,
            **sizes,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", model_max_length=MAX_TOKENS
    ).save_pretrained(folder)
    return folder


def texts(n_per_class: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of twelve classes in three families, and their labels, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(NAMES)), n_per_class))
    rows = []
    for label in labels.tolist():
        noise = rng.choice(WORDS[-20:], size=rng.integers(1, 6))
        clues = [WORDS[label // MEMBERS], *[WORDS[FAMILIES + label]] * int(rng.random() < 0.8)]
        rows.append(" ".join(rng.permutation([*clues, *noise]).tolist()))
    return rows, [NAMES[label] for label in labels.tolist()]


def text_table(file: Path, n_per_class: int = 40) -> Path:
    """The same as a TSV with the columns text and label."""
    lines = [f"{text}\t{label}" for text, label in zip(*texts(n_per_class), strict=True)]
    file.write_text("\n".join(["text\tlabel", *lines]) + "\n", encoding="utf-8")
    return file


def without(folder: Path, *names: str) -> Path:
    """The folder, without some of its files."""
    for name in names:
        (folder / name).unlink()
    return folder


def changed_config(folder: Path, **changes: Any) -> Path:
    """The folder with another ``config.json``."""
    file = folder / "config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**values, **changes}), encoding="utf-8")
    return folder
