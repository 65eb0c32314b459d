"""What the sections of all networks have: how they are trained, and who may build them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specialists.config.fields import (
    Fraction,
    ImportPath,
    Number,
    Options,
    Positive,
    Rate,
    Section,
)


class Recipe(Section):
    """How a network is trained: AdamW (sparse tables: Adagrad), warm-up, cosine, best epoch."""

    epochs: Positive | None = None
    """Passes over the training data, at most. None: by kind of input."""
    batch_size: Positive | None = None
    """Examples per optimiser step. None: by kind of input."""
    learning_rate: Rate | None = None
    """Peak learning rate of dense parameters. None: by kind of input."""
    embedding_learning_rate: Rate | None = None
    """Peak learning rate of sparse n-gram tables. None: by kind of input."""
    weight_decay: Annotated[Number, Field(ge=0, le=1000)] = 0.01
    """Decoupled weight decay of matrices; biases, norms and n-gram tables have none."""
    warmup: Fraction = 0.05
    """Fraction of the steps in which the learning rate rises."""
    select_by: Literal["loss", "top1"] = "loss"
    """Validation score that chooses the best epoch."""
    patience: Positive | None = None
    """Epochs without a better validation score after which training ends. None: by kind of input;
    images have no limit."""
    clip: Annotated[Number, Field(gt=0)] = 1.0
    """Largest gradient norm of the dense parameters; longer gradients are shortened to it."""
    label_smoothing: Fraction | None = None
    """Fraction of a label's probability spread over all classes. None: by kind of input."""
    dropout: Fraction | None = None
    """Fraction of the features before the head that is dropped. None: by kind of input."""


class OwnNetwork(Recipe):
    """A network that a function of the user may build."""

    factory: ImportPath | None = None
    """Network of your own: package.module:function, which takes n_classes and returns any
    nn.Module. A specialist of a cluster has its classes and one more, and starts afresh."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of the factory."""
