"""How do texts become the tokens that a transformer was trained on?

The tokenizer of a folder that ``save_pretrained`` of Hugging Face wrote is kept as one JSON string
in the preprocessing, so that a model encodes new texts wherever its folder is copied, and when the
tokenizer's own folder is gone. No code of the folder is executed, and nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.base import Preprocessing, Ragged
from specialists.errors import DataError, InputError
from specialists.extras import imported

MOST_TOKENS = 128  # of a text, unless told otherwise
FILES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"),
    *("sentencepiece.bpe.model", "sentencepiece.model"),
)
TEXTS_AT_A_TIME = 1 << 14


def read_tokenizer(folder: str | Path, max_tokens: int | None = None) -> str:
    """The tokenizer of a folder as JSON, which cuts texts after ``max_tokens``.

    ``max_tokens`` None: 128, or as many as the folder says that its model takes, if fewer.

    Raises
    ------
    InputError
        If the folder is missing, holds no tokenizer, or one that only its own Python code can run.
    """
    check_tokenizer_folder(Path(folder))
    transformers = imported("transformers", "hf", "data.tokenizer")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
        )
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # whatever its readers stumble over
        raise InputError(
            "the tokenizer of this folder cannot be read",
            where=folder,
            got=str(error).strip().partition("\n")[0][:200] or type(error).__name__,
            expected="tokenizer.json, as save_pretrained of a fast tokenizer writes it",
        ) from None
    backend.no_padding()
    backend.enable_truncation(max_tokens or min(MOST_TOKENS, tokenizer.model_max_length))
    return backend.to_str()


def check_tokenizer_folder(folder: Path) -> None:
    """Raise an InputError if there is no such folder, or no tokenizer in it."""
    if not folder.is_dir():
        raise no_such_folder(folder, "data.tokenizer, or the pretrained transformer")
    if not any((folder / name).is_file() for name in FILES):
        names = sorted(path.name for path in folder.iterdir())
        raise InputError(
            "this folder holds no tokenizer",
            where=folder,
            got=", ".join(names[:10]) or "an empty folder",
            expected=", ".join(FILES),
            fix="tokenizer.save_pretrained(folder) writes it; data.tokenizer names another folder",
        )


def no_such_folder(folder: Path, where: str) -> InputError:
    """What to say where a transformer or its tokenizer is to be read; it may name one of a hub."""
    here = Path.cwd()
    name = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return InputError(
        "no such folder",
        where=where,
        got=folder,
        expected="a folder on this machine with model and tokenizer: nothing is fetched from a hub",
        fix=f"save both once: AutoModelForSequenceClassification.from_pretrained('{name}')"
        ".save_pretrained(folder), and the same with AutoTokenizer; a run that is trained needs "
        "the folder no longer",
    )


def check_tokenizer(folder: str | Path, preprocessing: Preprocessing) -> None:
    """Check that data are read as the tokens of the transformer of a folder.

    Raises
    ------
    InputError
        If they are not read as tokens, or the folder's own tokenizer, if it has one, is another.
    """
    ours = preprocessing.get("tokenizer")
    if ours is not None and not any((Path(folder) / name).is_file() for name in FILES):
        return
    if ours is None or _but_for_length(ours) != _but_for_length(read_tokenizer(folder)):
        raise InputError(
            "these data are not read as the tokens of this transformer",
            where=folder,
            got="tokens of another tokenizer" if ours else "n-grams",
            expected="its own tokenizer, for the generalist too: all read the same inputs",
            fix="data.tokenizer = this folder, or another transformer",
        )


def _but_for_length(tokenizer: str) -> object:
    return {**json.loads(tokenizer), "truncation": None}


def encode_tokens(tokenizer: str, texts: Sequence[str]) -> Ragged:
    """Token ids of strings, int32, one row a string, each of one token at least.

    ``tokenizer`` is what :func:`read_tokenizer` gave.
    """
    encoder = _tokenizer(tokenizer)
    values: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        some = texts[start : start + TEXTS_AT_A_TIME]
        some = [text.encode("utf-8", "replace").decode() for text in some]  # no lone surrogates
        for i, encoded in enumerate(encoder.encode_batch(some), start):
            ids = encoded.ids or [0]
            values += ids
            lengths[i] = len(ids)
    return Ragged.from_lengths(np.array(values, dtype=np.int32), lengths)


@lru_cache(maxsize=2)
def _tokenizer(tokenizer: str) -> Any:
    tokenizers = imported("tokenizers", "hf", "a model that reads tokens")
    try:
        return tokenizers.Tokenizer.from_str(tokenizer)
    except Exception as error:  # the library raises nothing more special
        reason = str(error).partition("\n")[0][:200]
        raise DataError("the tokenizer of this model cannot be read", got=reason) from None
