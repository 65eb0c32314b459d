"""On which device, how precisely and with which random numbers is a result computed?

Every random choice has a seed of its own, derived from the configuration's seed and the names of
what it is for. So no result depends on how many other choices were made before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from specialists.errors import ConfigError

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: object) -> int:
    """A seed in [0, 2**31) that depends on ``seed`` and every name, the same on every machine.

    Examples
    --------
    >>> derive_seed(0, "specialist", 3) == derive_seed(0, "specialist", 3)
    True
    >>> derive_seed(0, "specialist", 3) == derive_seed(0, "specialist", 4)
    False
    """
    text = json.dumps([seed, *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class Hardware:
    """Where and how numbers are computed."""

    device: str = "auto"
    precision: str = "auto"

    @property
    def torch_device(self) -> torch.device:
        return pick_device(self.device)


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; "auto" is the first CUDA device, or the CPU.

    Raises a ConfigError if there is no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type != "cuda" and device != torch.device("cpu"):
            raise RuntimeError(f"nothing is trained on {device}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            "this device cannot be used",
            where="device",
            got=repr(name),
            expected="auto, cpu, or a CUDA device that PyTorch sees",
            fix=f"--set device=cpu ({str(error).splitlines()[0]})",
        ) from None
    return device


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager[object]:
    """A context in which dense layers compute with ``precision``.

    "auto" is bfloat16 on CUDA and on CPUs that multiply it natively (AVX-512 BF16, AMX), float32
    elsewhere; parameters stay float32 in any case.
    """
    import torch

    if resolve_precision(device, precision) == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def resolve_precision(device: torch.device, precision: str = "auto") -> str:
    """What :func:`autocast` computes with on this machine: "float32" or "bfloat16"."""
    if precision != "auto":
        return precision
    native = device.type == "cuda" or (device.type == "cpu" and _cpu_multiplies_bfloat16())
    return "bfloat16" if native else "float32"


def _cpu_multiplies_bfloat16() -> bool:
    import torch

    able = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def share_of_cores() -> float:
    """The part of these cores that PyTorch's threads in this process can use."""
    import torch

    return min(1.0, torch.get_num_threads() / n_cores())


def most_at_once() -> int:
    """Threads or processes beyond which a number makes no sense on this machine."""
    return max(16, 4 * n_cores())


def processor_name(device: torch.device) -> str:
    """What the GPU, or the CPU with so many cores for this process, is called."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    file = Path("/proc/cpuinfo")
    info = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    named = re.search(r"^model name\s*: (.*)", info, re.MULTILINE)
    cores = f"{n_cores()} core{'s' * (n_cores() > 1)}"
    return f"{named[1] if named else platform.machine()}, {cores}"


def memory() -> int:
    """Bytes that this process may use: the machine's memory, or what its control group allows."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return min(physical, int(allowed)) if allowed.isdecimal() else physical


def threads(n: int = 0) -> int:
    """Let PyTorch use ``n`` threads in this process (0: one a core); return how many.

    Raises a ConfigError if there are too many for this machine: OpenMP would end the process.
    """
    import torch

    if n > most_at_once():
        raise ConfigError("too many threads", got=n, expected=f"at most {most_at_once()} here")
    n = n or n_cores()
    torch.set_num_threads(n)
    return n
