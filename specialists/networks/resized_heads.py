"""How is a head built again, of the same class, over another number of classes?

- It has a method ``with_classes(n)``, which returns the same head over n classes.
- It is an ``nn.Linear`` or a convolution of 1 x 1 pixels, without anything attached to it.
- It is of a subclass of these whose constructor takes the numbers of inputs and of classes first,
  as theirs do. Each further argument is read from the attribute of its name.

Whether a copy that the last way builds over the same classes computes the same is tried. A head of
which this does not hold is refused: another one in its place would compute something else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from specialists.errors import InputError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PLAIN = (nn.Linear, *CONVOLUTIONS)
PARAMETERS = {"weight", "bias"}
N_TRIED = 3  # rows of features on which a copy is compared


def n_outputs_of(module: nn.Module) -> int | None:
    """How many classes a layer is over; None for one that can be no head."""
    if hasattr(module, "with_classes"):
        n = getattr(module, "out_features", getattr(module, "n_classes", None))
        return n if isinstance(n, int) else None
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, CONVOLUTIONS):
        alone = set(module.kernel_size) == {1} and module.groups == 1
        return module.out_channels if alone else None
    return None


def resized(head: nn.Module, n: int) -> nn.Module:
    """A fresh head of the same class over ``n`` classes, where the other one's weights are.

    Raises an InputError where none can be built.
    """
    if hasattr(head, "with_classes"):
        make: Callable[[int], nn.Module] = head.with_classes  # pyright: ignore[reportAssignmentType]
        new = make(n)
        if not isinstance(new, nn.Module) or type(new) is not type(head) or new is head:
            raise _refused(head, f"with_classes({n}) gave {type(new).__name__}")
    else:
        if type(head) in PLAIN and head.state_dict().keys() - PARAMETERS:
            raise _refused(head, f"it holds {', '.join(head.state_dict())}")
        new = _constructed(head, n)
        if type(head) not in PLAIN:
            _check_copy(head)
    for like in head.parameters():
        return new.to(like.device, like.dtype)
    return new


def class_tensors(head: nn.Module) -> list[str]:
    """Names of a head's tensors that have a row for each class."""
    state = head.state_dict()
    if type(head) in PLAIN:
        return list(state)
    n = n_outputs_of(head) or 0
    more = resized(head, n + 1).state_dict()
    if state.keys() != more.keys():
        raise _refused(head, "one over another number of classes has other tensors")
    found = [name for name, value in state.items() if value.shape != more[name].shape]
    wrong = [name for name in found if more[name].shape != (n + 1, *state[name].shape[1:])]
    if wrong or not found:
        raise _refused(head, f"no row a class in {', '.join(wrong) or 'any of its tensors'}")
    return found


def check_resizable(head: nn.Module) -> None:
    """Raise an InputError unless specialists can have a head of this class."""
    resized(head, 2)
    class_tensors(head)


def _constructed(head: nn.Module, n: int) -> nn.Module:
    """By a constructor of (inputs, classes) and what else the head has as attributes."""
    n_in = head.in_features if isinstance(head, nn.Linear) else getattr(head, "in_channels", 0)
    names = list(inspect.signature(type(head)).parameters)[2:]
    plain = {k: v for k, v in vars(head).items() if not isinstance(v, nn.Module | Tensor)}
    others = {name: plain[name] for name in names if name in plain}
    if "bias" in names:
        others["bias"] = getattr(head, "bias", None) is not None
    try:
        return type(head)(n_in, n, **others)
    except Exception as error:  # of a user's class
        raise _refused(head, f"{type(error).__name__}: {error}") from None


def _check_copy(head: nn.Module) -> None:
    """Check that a copy over the same classes computes what the head does."""
    n = n_outputs_of(head)
    assert n is not None
    copied = _constructed(head, n)
    try:
        copied.load_state_dict(head.state_dict())
    except RuntimeError:
        raise _refused(head, f"a copy lacks some of {', '.join(head.state_dict())}") from None
    weight = next(head.parameters())
    n_in = head.in_features if isinstance(head, nn.Linear) else getattr(head, "in_channels", 0)
    pixels = [1] * (len(head.kernel_size) if isinstance(head, CONVOLUTIONS) else 0)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(N_TRIED, n_in, *pixels, generator=generator).to(weight.device, weight.dtype)
    copied.to(weight.device, weight.dtype)
    was_training = head.training
    with torch.no_grad():
        same = torch.allclose(copied.eval()(rows), head.eval()(rows), 1e-4, 1e-5)
    head.train(was_training)
    if not same:
        raise _refused(head, "a copy computes something else: an argument is no attribute of it")


def _refused(head: nn.Module, got: str) -> InputError:
    return InputError(
        "a head of this class cannot be built again for the classes of a specialist",
        where=type(head).__name__,
        got=got,
        expected="a constructor of (inputs, classes), whose further arguments are attributes",
        fix="give the class a method with_classes(n), which returns such a head over n classes; or "
        "set specialists.factory",
    )
