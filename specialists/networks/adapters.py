"""How is a specialist but a small part of its own on a generalist that all of them share?

Low-rank adapters (Hu et al. 2021, by the library ``peft``): beside some linear layers W of the
frozen generalist stand products B A of a small rank, and a specialist has a head of its own. It is
a copy of the generalist's modules whose tensors are the generalist's, but for these. Its state dict
holds what is its own: that is what is trained, kept as the best epoch, and stored.

Adapters stand in the upper part of the network. What lies below the lowest of them is a trunk,
computed once for all specialists, where the network can be cut there: a chain at its parts, a
transformer at its blocks. Any other network is computed anew by each specialist that is asked.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from specialists.errors import ConfigError
from specialists.extras import imported
from specialists.networks.heads import HEAD_PATH, find_head, specialise_head
from specialists.networks.text_transformer import TextTransformer, cut_transformer, sharing_copy

if TYPE_CHECKING:
    from specialists.config import SpecialistsConfig

MARK = "adapters_of_its_own"
SCALE = 2.0  # of B A, as LoRA's alpha is twice its rank


@dataclass(frozen=True)
class Adapters:
    """Which layers of a generalist have adapters, and of what rank.

    Parameters
    ----------
    rank : int
    layers : tuple of str
        Dotted names of layers of the generalist, lowest first.
    """

    rank: int
    layers: tuple[str, ...]

    @classmethod
    def of(cls, network: nn.Module, n_classes: int, settings: SpecialistsConfig) -> Adapters | None:
        """Those that settings ask for in a generalist; None if they ask for none.

        Raises
        ------
        ConfigError
            If the network has no such layers.
        """
        if settings.adapter is None:
            return None
        found = _candidates(network, n_classes, settings.adapter_targets)
        groups = _by_block(network, found)
        n = settings.adapter_blocks or math.ceil(len(groups) / 2)
        if n > len(groups):
            raise ConfigError(
                "the generalist has not so many blocks with layers to adapt",
                where="specialists.adapter_blocks",
                got=n,
                expected=f"at most {len(groups)}",
            )
        return cls(settings.adapter_rank, tuple(itertools.chain(*groups[len(groups) - n :])))

    def to_dict(self) -> dict[str, object]:
        return {"rank": self.rank, "layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: Any) -> Adapters:
        return cls(int(values["rank"]), tuple(map(str, values["layers"])))


def cut_below(generalist: nn.Module, adapters: Adapters) -> tuple[nn.Module | None, nn.Module]:
    """A generalist as the trunk below all adapters, or None, and the rest; its tensors, frozen."""
    generalist.requires_grad_(False).eval()
    if isinstance(generalist, TextTransformer):
        return _cut_blocks(generalist, adapters)
    if isinstance(generalist, nn.Sequential):
        parts = list(generalist.named_children())
        first = adapters.layers[0].partition(".")[0]
        n_below = [name for name, _ in parts].index(first)
        if any(True for _, part in parts[:n_below] for _ in part.parameters()):
            lower, upper = (OrderedDict(some) for some in (parts[:n_below], parts[n_below:]))
            rest = nn.Sequential(upper).eval()
            vars(rest).update({k: v for k, v in vars(generalist).items() if k == HEAD_PATH})
            return nn.Sequential(lower).eval(), rest
    return None, generalist


def adapted(upper: nn.Module, n_classes: int, subset: Tensor, adapters: Adapters) -> nn.Module:
    """A specialist of ``subset`` on a generalist's ``upper`` part, whose tensors it shares.

    Its own are its adapters, which change nothing yet, and its head, which starts from the
    generalist's: only they are trained, and only they are in its state dict. Draws from PyTorch's
    global generator.
    """
    peft = _peft()
    network = sharing_copy(upper)
    specialise_head(network, n_classes, subset)
    head = network.get_submodule(find_head(upper, n_classes))
    alpha = SCALE * adapters.rank
    config = peft.LoraConfig(
        r=adapters.rank, lora_alpha=alpha, target_modules=list(adapters.layers), bias="none"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.inject_adapter_in_model(config, network)
    head.requires_grad_(True)
    own = frozenset(name for name, p in network.named_parameters() if p.requires_grad)
    network.register_state_dict_post_hook(partial(_leave_out_shared, own))
    network.register_load_state_dict_post_hook(partial(_allow_shared, own))
    vars(network)[MARK] = adapters
    return network


def adapters_of(network: nn.Module) -> Adapters | None:
    """What :func:`adapted` gave a network; None if it shares nothing so."""
    return vars(network).get(MARK)


def merged(network: nn.Module) -> nn.Module:
    """A full copy of a specialist, with its adapters added to the weights; it shares nothing."""
    layer_type: Any = imported("peft.tuners.lora", "peft", "specialists.adapter").LoraLayer
    network = copy.deepcopy(network)
    network._state_dict_hooks.clear()
    network._load_state_dict_post_hooks.clear()
    del vars(network)[MARK]
    for name, layer in list(network.named_modules()):
        if isinstance(layer, layer_type):
            whole: Any = layer
            whole.merge(safe_merge=True)
            network.set_submodule(name, whole.get_base_layer())
    return network


def own_parameters(network: nn.Module) -> int:
    """Number of parameters that an adapted network does not share."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _peft() -> Any:
    return imported("peft", "peft", "specialists.adapter = 'lora'")


def _candidates(network: nn.Module, n_classes: int, targets: Sequence[str] | None) -> list[str]:
    """Names of the layers below the head that may have an adapter, lowest first."""
    head = find_head(network, n_classes)
    usual = _usual_targets(network) if targets is None else tuple(targets)
    if usual is None:
        found = [name for name, m in network.named_modules() if isinstance(m, nn.Linear)]
        lists = tuple(f"{path}." for path in _lists(network))
        found = [name for name in found if name.startswith(lists)] or found
    else:
        ends = tuple(f".{name}" for name in usual)
        found = [name for name, _ in network.named_modules() if f".{name}".endswith(ends)]
    found = [name for name in found if name != head]
    if not found:
        raise ConfigError(
            "the generalist has no layers to adapt",
            where="specialists.adapter_targets",
            got="not set" if targets is None else ", ".join(targets),
            expected="ends of names of linear layers below its head, for instance "
            f"{', '.join(n for n, m in network.named_modules() if isinstance(m, nn.Linear))}",
        )
    return found


def _usual_targets(network: nn.Module) -> tuple[str, ...] | None:
    """What peft adapts in a transformer of this kind; None: it does not say."""
    if not isinstance(network, TextTransformer):
        return None
    known = imported("peft.utils", "peft", "specialists.adapter = 'lora'")
    config: Any = network.model.config
    usual = known.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(config.model_type)
    return tuple(usual) if isinstance(usual, list) else None


def _lists(network: nn.Module) -> list[str]:
    """Names of the lists of blocks, outer ones first."""
    return [name for name, m in network.named_modules() if isinstance(m, nn.ModuleList) and name]


def _by_block(network: nn.Module, names: Sequence[str]) -> list[list[str]]:
    """The layers of each block of the network that has some; without blocks each stands alone."""
    lists = _lists(network)
    groups: dict[str, list[str]] = {}
    for name in names:
        outer = next((path for path in lists if name.startswith(f"{path}.")), None)
        block = name
        if outer is not None:
            block = f"{outer}.{name.removeprefix(f'{outer}.').partition('.')[0]}"
        groups.setdefault(block, []).append(name)
    return list(groups.values())


def _cut_blocks(network: TextTransformer, adapters: Adapters) -> tuple[nn.Module | None, nn.Module]:
    """A transformer, cut below the block of the lowest adapter, if that is not the first."""
    first = adapters.layers[0]
    blocks = next((path for path in _lists(network) if first.startswith(f"{path}.")), None)
    if blocks is None or not all(name.startswith(f"{blocks}.") for name in adapters.layers):
        return None, network
    n_below = min(int(name.removeprefix(f"{blocks}.").split(".")[0]) for name in adapters.layers)
    return (n_below and cut_transformer(network, blocks, n_below)) or (None, network)


def _leave_out_shared(
    own: frozenset[str], module: nn.Module, state: dict[str, Tensor], prefix: str, local: object
) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        if name.removeprefix(prefix) not in own:
            del state[name]


def _allow_shared(own: frozenset[str], module: nn.Module, keys: Any) -> None:
    missing = keys.missing_keys
    missing[:] = [name for name in missing if any(name.endswith(mine) for mine in own)]
