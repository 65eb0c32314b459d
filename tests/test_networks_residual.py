"""Residual networks of every width train on any CPU; their shortcut is a strided convolution."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from specialists.networks import NetworkSpec, build
from specialists.networks.blocks import ResidualBlock

WIDTHS = (*range(1, 32), 48)
SIZES = (13, 14, 28)


def train_a_step(width: int, channels: int, size: int) -> None:
    """A pass forward and one backward; memory that they spoil ends the process."""
    network = build(NetworkSpec("resnet", 3, (channels, size, size), width=width))
    images = torch.randint(256, (3, channels, size, size), dtype=torch.uint8)
    network(images).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_residual_networks_of_any_width_train_on_a_cpu_without_avx_512():
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(WIDTHS) * len(SIZES)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("n_in", [1, 3, 4, 7, 8, 31])
def test_the_shortcut_is_a_1x1_convolution_with_the_stride_of_the_block(n_in, size, stride):
    torch.manual_seed(0)
    block = ResidualBlock(n_in, n_in + 1, stride).eval()
    x = torch.randn(2, n_in, size, size).contiguous(memory_format=torch.channels_last)
    weight = block.get_parameter("shortcut.0.weight")
    strided = block.get_submodule("shortcut.1")(F.conv2d(x, weight, stride=stride))
    main = block.second(F.relu(block.first(x)))
    torch.testing.assert_close(block(x), F.relu(main + strided))


def test_the_parts_of_a_block_keep_their_names():
    names = [name for name, _ in ResidualBlock(4, 8, 2).named_parameters()]
    expected = [
        f"{part}.{name}"
        for part in ("first", "second", "shortcut")
        for name in ("0.weight", "1.weight", "1.bias")
    ]
    assert names == expected


if __name__ == "__main__":
    torch.manual_seed(0)
    for width in WIDTHS:
        for size in SIZES:
            train_a_step(width, 1 if width % 2 else 3, size)
            print(width, size)
