"""How does a folder of Hugging Face become a network that classifies texts?

The folder is one that ``save_pretrained`` wrote: ``config.json`` and safetensors. Only classes of
the library ``transformers`` itself are built, from the configuration as plain data; no code of the
folder is executed, no pickle is read, and nothing is fetched. A network that was trained here is
built again from its description alone: the folder may be gone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from specialists.datasets.base import Inputs, Ragged
from specialists.datasets.tokens import no_such_folder
from specialists.errors import InputError
from specialists.extras import imported
from specialists.files import sha256
from specialists.networks.foreign import INDICES, WHOLE_FILES, ForeignWeights
from specialists.networks.heads import find_head, swap_head
from specialists.networks.output_names import output_order
from specialists.networks.text_transformer import TextTransformer

if TYPE_CHECKING:
    from specialists.networks.build import NetworkSpec

TRANSFORMER = "transformer"  # as the model of a description
SAFE = tuple(name for name in (*WHOLE_FILES, *INDICES) if name.startswith("model.safetensors"))
PICKLED = tuple(name for name in (*WHOLE_FILES, *INDICES) if ".bin" in name)
# What a configuration says of classes, of where it came from, and of code or kernels to be loaded.
DROPPED = (
    *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "architectures"),
    *("_name_or_path", "transformers_version", "auto_map", "quantization_config", "torch_dtype"),
    *("dtype", "_attn_implementation", "attn_implementation", "_experts_implementation"),
)
# Kinds whose positions are counted from that of the padding token.
AFTER_PAD = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer", "esm"}
WHAT = "a transformer (generalist.pretrained, student.pretrained)"


def pretrained_options(
    folder: str | Path, setting: str, class_names: Sequence[str] = ()
) -> dict[str, object]:
    """What describes the network of a folder, JSON-able.

    Parameters
    ----------
    folder : path
    setting : str
        That names the folder, for messages.
    class_names : sequence of str
        Of the data. Where the folder's head has an output named like each of them, the network
        starts from these rows of it, in the data's order; else its head is new.

    Returns
    -------
    dict
        "config", without what it says of classes; "folder"; "sha256" of its files of weights;
        "head", how many outputs the folder's has and which of them are kept, or None.

    Raises
    ------
    InputError
        If the folder is missing, or is none of ``save_pretrained`` with safetensors.
    """
    path = check_pretrained(Path(folder), setting)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    head = _named_head(path, config, class_names)
    digests = [sha256(file) for file in sorted(path.glob("*.safetensors"))]
    return {"config": _plain(config), "folder": str(path), "sha256": digests, "head": head}


def check_pretrained(path: Path, setting: str) -> Path:
    """``path``; an InputError unless it is a folder of a transformer's weights as safetensors."""
    if not path.is_dir():
        raise no_such_folder(path, setting)
    names = ", ".join(sorted(file.name for file in path.iterdir())[:10]) or "an empty folder"
    if not any((path / name).is_file() for name in SAFE):
        pickled = any((path / name).is_file() for name in PICKLED)
        raise InputError(
            "the weights of this folder are a pickle, which may execute anything"
            if pickled
            else "this folder holds no weights",
            where=path,
            got=names,
            expected=" or ".join(SAFE),
            fix="load it where you trust it, and model.save_pretrained(folder), "
            "which writes safetensors",
        )
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        known = isinstance(config["model_type"], str)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        known = False
    if not known:
        raise InputError(
            "this folder does not say what kind of transformer it holds",
            where=path,
            got=names,
            expected="config.json with a model_type, as save_pretrained writes it",
        )
    return path


def _named_head(
    path: Path, config: Mapping[str, object], class_names: Sequence[str]
) -> dict[str, object] | None:
    """The outputs of a folder's head that stand for the classes, in their order."""
    if "id2label" not in config or not class_names:
        return None
    try:
        order = output_order(ForeignWeights(path, {}), None, class_names)
    except InputError:  # a head of other classes
        return None
    kept = order.outputs
    return None if kept is None else {"n_outputs": order.n_outputs, "kept": list(kept)}


def text_transformer(spec: NetworkSpec) -> TextTransformer:
    """A freshly initialised transformer; seed torch before.

    Raises
    ------
    InputError
        If its library is not installed, or knows no such transformer.
    """
    transformers = imported("transformers", "hf", WHAT)
    with _told(spec):
        config = _config(transformers, spec, spec.n_classes)
        with _quiet(transformers):
            model = transformers.AutoModelForSequenceClassification.from_config(
                config, trust_remote_code=False
            )
    return _wrapped(model)


def pretrained_transformer(spec: NetworkSpec, inputs: Inputs | None) -> TextTransformer:
    """A transformer with the weights of its folder, to be trained on ``inputs``.

    Its head has the rows of the folder's that its description names, or is new: seed torch before.

    Raises
    ------
    InputError
        If the folder is gone, is not as it was described, or its model takes no such tokens.
    """
    options: Any = spec.options
    path = check_pretrained(Path(options["folder"]), "the pretrained transformer")
    head = options["head"]
    n_outputs = spec.n_classes if head is None else head["n_outputs"]
    transformers = imported("transformers", "hf", WHAT)
    with _told(spec), _quiet(transformers):
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            str(path),
            config=_config(transformers, spec, n_outputs),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    network = _wrapped(model.float())
    name = find_head(network, n_outputs)
    lacking = {f"model.{key}".rpartition(".")[0] for key in found["missing_keys"]}
    if head is None or name in lacking:
        swap_head(network, n_outputs, spec.n_classes)
    else:
        _keep_outputs(network, name, head["kept"])
    check_tokens(network, inputs, path)
    return network


def _config(transformers: Any, spec: NetworkSpec, n_outputs: int) -> Any:
    options: Any = spec.options
    config = _plain(options["config"])  # it may come with a stranger's folder
    return transformers.AutoConfig.for_model(
        **{**config, "num_labels": n_outputs, "use_cache": False}
    )


def _plain(config: Mapping[str, object]) -> dict[str, object]:
    """A configuration without what is dropped, in its parts too."""
    kept = {name: value for name, value in config.items() if name not in DROPPED}
    return {k: _plain(v) if isinstance(v, Mapping) else v for k, v in kept.items()}


def _wrapped(model: nn.Module) -> TextTransformer:
    config: Any = model.config
    if config.pad_token_id is None:
        config.pad_token_id = 0
    return TextTransformer(model, int(config.pad_token_id))


def _keep_outputs(network: nn.Module, name: str, kept: list[int]) -> None:
    """Swap a head, in place, for one of some of its rows, in this order."""
    old: Any = network.get_submodule(name)
    new: Any = swap_head(network, old.out_features, len(kept))
    new.weight.data.copy_(old.weight.data[kept])
    if old.bias is not None:
        new.bias.data.copy_(old.bias.data[kept])


def check_tokens(network: TextTransformer, inputs: Inputs | None, where: object) -> None:
    """Raise an InputError if a transformer takes no such token ids, or not so many."""
    config: Any = network.model.config
    if not isinstance(inputs, Ragged) or not len(inputs.values):
        return
    largest, longest = int(inputs.values.max()), int(inputs.lengths.max())
    vocabulary = network.model.get_input_embeddings().num_embeddings  # pyright: ignore
    if largest >= vocabulary:
        raise InputError(
            "the tokenizer knows more tokens than the transformer",
            where=where,
            got=f"token {largest}",
            expected=f"less than {vocabulary}",
            fix="data.tokenizer names the folder of the tokenizer that it was trained with",
        )
    positions = getattr(config, "max_position_embeddings", None)
    if config.model_type in AFTER_PAD and positions:
        positions -= network.pad + 1
    if positions and longest > positions:
        raise InputError(
            "a text has more tokens than the transformer takes",
            where=where,
            got=f"{longest} tokens",
            expected=f"at most {positions}",
            fix=f"data.max_tokens = {positions}",
        )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without bars and reports of what is told in our own words."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _told(spec: NetworkSpec) -> Iterator[None]:
    """What the library raises, as an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever a strange configuration or a damaged file leads to
        first = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            "this folder holds no transformer that classifies texts, or a damaged one",
            where=spec.options.get("folder"),
            got=f"{type(error).__name__}: {first}",
            expected="what save_pretrained of a model wrote that "
            "AutoModelForSequenceClassification knows",
        ) from None
