"""A student that was never shown some classes, with the bias that makes up for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from specialists.classifier import TrainedClassifier
from specialists.datasets.base import Split
from specialists.distillation.missing_classes import fit_missing_bias
from specialists.errors import InputError
from specialists.networks import find_head
from specialists.predictions import predict_outputs


def with_raised_classes(
    student: TrainedClassifier, validation: Split, missing: Sequence[int]
) -> TrainedClassifier:
    """Add what validation rows ask for to the biases of the head, of classes that it never saw.

    Parameters
    ----------
    student : TrainedClassifier
        Its network's head is changed in place.
    validation : Split
        Labelled rows of all classes, in their natural proportions.
    missing : sequence of int

    Returns
    -------
    TrainedClassifier
        With the temperature that goes with that bias, and loss and top-1 of the validation rows.

    Raises
    ------
    InputError
        If the head has no biases, or validation rows cannot tell
        (:func:`specialists.distillation.missing_classes.fit_missing_bias`).
    """
    logits = predict_outputs(student.network, validation.inputs)
    fitted = fit_missing_bias(logits, validation.labels, missing)
    name = find_head(student.network, logits.shape[1])
    head = student.network.get_submodule(name)
    assert isinstance(head, nn.Linear)
    if head.bias is None:
        raise InputError("this network has no bias to raise", where=name, expected="bias=True")
    with torch.no_grad():
        head.bias[list(fitted.missing)] += fitted.bias
    log_probs = fitted.log_probs(logits)
    chosen = log_probs.gather(1, validation.labels[:, None])
    right = log_probs.argmax(1) == validation.labels
    return dataclasses.replace(
        student,
        temperature=fitted.temperature,
        loss=-float(chosen.mean()),
        top1=float(right.double().mean()),
    )
