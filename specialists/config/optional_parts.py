"""Settings that need an optional library: transformers from a folder, adapters as specialists."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specialists.config.fields import FilePath, Positive, Section


class FromFolder(Section):
    """A network of Hugging Face."""

    pretrained: FilePath | None = None
    """Transformer that is fine-tuned: a folder of save_pretrained, with its tokenizer (text; the
    extra hf). None: a network that ships, or a factory's."""


class AdapterSettings(Section):
    """Specialists that are small parts of their own on the frozen generalist."""

    adapter: Literal["lora"] | None = None
    """lora: a specialist is low-rank adapters and a head on the frozen generalist, which is not
    copied (the extra peft); it starts from the generalist. None: a network of its own."""
    adapter_rank: Positive = 8
    """Rank of the adapters."""
    adapter_blocks: Positive | None = None
    """Number of the topmost blocks of the generalist that have adapters; what lies below is
    computed once for all specialists. None: the upper half."""
    adapter_targets: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Layers with adapters, by the ends of their names. None: those that peft adapts in such a
    transformer, or every linear layer of its blocks, or of the network."""
