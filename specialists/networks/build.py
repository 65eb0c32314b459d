"""Networks by name or import path, from a description that is plain data.

Every architecture that ships is an ``nn.Sequential`` of named parts that ends in ``head``, so that
its lower parts can be frozen and computed once. Any other ``nn.Module`` comes through
``factory = "package.module:function"``; it is called with ``n_classes`` and the given options.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from specialists.config import GeneralistConfig, OwnNetwork
from specialists.datasets.base import Inputs, Ragged
from specialists.errors import ConfigError
from specialists.networks.blocks import (
    Beside,
    HashedEmbedding,
    QuickDropout,
    ResidualBlock,
    ScaledPixels,
    convolution,
)
from specialists.networks.factories import check_outputs, from_factory
from specialists.networks.heads import HEAD_PATH, swap_head
from specialists.networks.save_pretrained import (
    TRANSFORMER,
    pretrained_options,
    pretrained_transformer,
    text_transformer,
)

GRID = 4


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a network again.

    Parameters
    ----------
    model : str
        ``hashed_text``, ``mlp``, ``resnet``, ``transformer`` or, for a factory, its import path.
    n_classes : int
        Outputs of the network as it is first built.
    input_shape : tuple of int
        () for text and tensors, (d,) for features, (channels, height, width) for images.
    n_outputs : int, optional
        Outputs after its head was swapped (a specialist's classes and its dustbin).
    head : str, optional
        Dotted path of a factory's head, where it is not the last layer of its size.
    head_rank : int, optional
        Of a cheap head: a linear ``bottleneck`` without bias to so many numbers lies below
        ``dropout`` and ``head``, which then cost (n_in + C) rank instead of n_in C.
    """

    model: str
    n_classes: int
    input_shape: tuple[int, ...] = ()
    width: int = 256
    depth: int = 1
    embedding_dim: int = 96
    n_buckets: int = 2**17
    dropout: float = 0.0
    n_outputs: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    head_rank: int | None = None
    head: str | None = None

    def to_dict(self) -> dict[str, object]:
        """For JSON; of a head only what is set, as older descriptions have none of it."""
        values = dataclasses.asdict(self)
        return {k: v for k, v in values.items() if k not in ("head_rank", "head") or v is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        return cls(**{**values, "input_shape": tuple(values["input_shape"])})


def generalist_spec(
    settings: GeneralistConfig,
    n_classes: int,
    input_shape: tuple[int, ...],
    class_names: Sequence[str] = (),
) -> NetworkSpec:
    """The generalist of resolved settings at the first of its widths.

    A transformer whose outputs have these names keeps its head.
    """
    if settings.pretrained is not None:
        options = pretrained_options(settings.pretrained, "generalist.pretrained", class_names)
        return NetworkSpec(TRANSFORMER, n_classes, width=1, options=options)
    return NetworkSpec(
        model=settings.factory or settings.model or "",
        n_classes=n_classes,
        input_shape=input_shape,
        width=settings.widths[0] if settings.widths else 1,
        depth=settings.depth or 1,
        embedding_dim=settings.embedding_dim or 1,
        n_buckets=settings.n_buckets or 1,
        dropout=settings.dropout or 0.0,
        options=settings.options,
        head_rank=settings.head_rank,
        head=settings.head,
    )


def own_spec(
    settings: OwnNetwork, n_classes: int, input_shape: tuple[int, ...]
) -> NetworkSpec | None:
    """The network of the factory that a section names, over so many classes; None without one."""
    if settings.factory is None:
        return None
    return NetworkSpec(settings.factory, n_classes, input_shape, width=1, options=settings.options)


def build(spec: NetworkSpec, table: HashedEmbedding | None = None) -> nn.Module:
    """A freshly initialised network; seed torch before.

    A network for text takes the n-gram ``table``, if one is given, instead of drawing its own.

    Raises
    ------
    ConfigError
        If the name is unknown, the factory cannot be imported, or a size makes no sense; if a
        cheap head is wanted of a factory, or would not be cheaper.
    """
    if ":" not in spec.model and spec.model not in BUILDERS:
        raise ConfigError(
            "no such model",
            where="generalist.model",
            got=spec.model,
            expected=", ".join(ARCHITECTURES) + ", or generalist.factory",
        )
    taken = table if spec.model == "hashed_text" else None
    drawn = spec if taken is None else dataclasses.replace(spec, n_buckets=1)
    network = BUILDERS.get(spec.model, from_factory)(drawn)
    if spec.head is not None:
        setattr(network, HEAD_PATH, spec.head)
    if taken is not None:
        network.embedding = taken
    if spec.n_outputs is not None:
        swap_head(network, spec.n_classes, spec.n_outputs)
    return network


def build_for(
    spec: NetworkSpec, inputs: Inputs | None, table: HashedEmbedding | None = None
) -> nn.Module:
    """A freshly initialised network to be trained on ``inputs``; seed torch before.

    A transformer has the weights of its folder. Rows of a shipped network's n-gram table that none
    of them reads are zero, unless the ``table`` is given. Raises as :func:`build`, and an
    InputError where the network of a factory has not an output for each class.
    """
    if spec.model == TRANSFORMER:
        return pretrained_transformer(spec, inputs)
    network = build(spec, table)
    if spec.model not in ARCHITECTURES and inputs is not None:
        check_outputs(network, spec, inputs)
    if table is None and isinstance(inputs, Ragged) and spec.model in ARCHITECTURES:
        for module in network.modules():
            if isinstance(module, HashedEmbedding):
                module.empty_unread(inputs)
    return network


def outline(spec: NetworkSpec) -> nn.Module:
    """The network without memory for its weights, to be counted or filled by ``load_state_dict``.

    A factory's network is built as it is: it may hold tensors that no state dict brings back.
    """
    with torch.device("meta") if spec.model in ARCHITECTURES else nullcontext():
        return build(spec)


def hashed_text(spec: NetworkSpec) -> nn.Sequential:
    """Mean embedding of hashed n-grams, ``depth`` hidden layers beside it; the head sees both."""
    if spec.n_buckets & (spec.n_buckets - 1):
        raise ConfigError(
            "the n-gram table must have a power of two of rows",
            where="n_buckets",
            got=spec.n_buckets,
            fix=f"for instance {1 << spec.n_buckets.bit_length()}",
        )
    parts = OrderedDict[str, nn.Module](
        embedding=HashedEmbedding(spec.n_buckets, spec.embedding_dim),
        hidden=Beside(spec.embedding_dim, spec.width, spec.depth),
    )
    return nn.Sequential(parts | _head(spec, spec.embedding_dim + spec.width))


def mlp(spec: NetworkSpec) -> nn.Sequential:
    """``depth`` hidden layers over feature vectors."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    n_in = spec.input_shape[0]
    for layer in range(1, spec.depth + 1):
        parts[f"hidden{layer}"] = nn.Linear(n_in, spec.width)
        parts[f"relu{layer}"] = nn.ReLU()
        n_in = spec.width
    return nn.Sequential(parts | _head(spec, n_in))


def resnet(spec: NetworkSpec) -> nn.Sequential:
    """A small residual network for images of 28 to 64 pixels.

    A strided stem of width/4 channels, then three stages of ``depth`` blocks with width/4, width/2
    and width channels, each after the first at half the resolution. Means over a 4 x 4 grid, not
    over the whole image, feed the head: where a stroke lies tells characters apart. Weights lie in
    memory as images do here, channels last: on a CPU a step in bfloat16 is a fifth quicker so.
    """
    channels = [max(4, round(spec.width / 4)), max(4, round(spec.width / 2)), spec.width]
    n_in = channels[0]
    stem = convolution(spec.input_shape[0], n_in, 3, 2)
    parts = OrderedDict[str, nn.Module](pixels=ScaledPixels(), stem=nn.Sequential(*stem, nn.ReLU()))
    for stage, n_out in enumerate(channels, start=1):
        first = ResidualBlock(n_in, n_out, 1 if stage == 1 else 2)
        rest = [ResidualBlock(n_out, n_out, 1) for _ in range(spec.depth - 1)]
        parts[f"stage{stage}"] = nn.Sequential(first, *rest)
        n_in = n_out
    parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
    network = nn.Sequential(parts | _head(spec, spec.width * GRID**2))
    # PyTorch's overloads of `to` leave memory_format out.
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


ARCHITECTURES: dict[str, Callable[[NetworkSpec], nn.Sequential]] = {
    "hashed_text": hashed_text,
    "mlp": mlp,
    "resnet": resnet,
}


# Of what is built from a description alone, which calls no function of the user.
BUILDERS: dict[str, Callable[[NetworkSpec], nn.Module]] = {
    **ARCHITECTURES,
    TRANSFORMER: text_transformer,
}


def with_allowed_rank(spec: NetworkSpec) -> NetworkSpec:
    """``spec``, without its ``head_rank`` where that makes its head no cheaper."""
    if spec.head_rank is None:
        return spec
    full = dataclasses.replace(spec, head_rank=None)
    head = outline(full).get_submodule("head")
    assert isinstance(head, nn.Linear)
    fits = spec.head_rank <= _largest_rank(head.in_features, spec.n_classes)
    return spec if fits else full


def _head(spec: NetworkSpec, n_in: int) -> OrderedDict[str, nn.Module]:
    """Dropout and head over ``n_in`` features, above a bottleneck where a rank is given."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if spec.head_rank is not None:
        largest = _largest_rank(n_in, spec.n_classes)
        if not 1 <= spec.head_rank <= largest:
            raise ConfigError(
                "a head of this rank is not cheaper than a full one",
                where="generalist.head_rank",
                got=f"{spec.head_rank} for {n_in} features and {spec.n_classes} classes",
                expected=f"at least 1 and at most {largest}: (features + classes) rank is to be "
                "less than features times classes",
                fix="leave generalist.head_rank unset, or take a smaller one",
            )
        parts["bottleneck"] = nn.Linear(n_in, spec.head_rank, bias=False)
    parts["dropout"] = QuickDropout(spec.dropout)
    parts["head"] = nn.Linear(spec.head_rank or n_in, spec.n_classes)
    return parts


def _largest_rank(n_in: int, n_classes: int) -> int:
    """The largest r with (n_in + C) r < n_in C, which is less than both; 0 if there is none."""
    return (n_in * n_classes - 1) // (n_in + n_classes)
