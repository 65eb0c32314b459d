"""Image folders and random affine maps."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import create_run

from specialists.config import Config, DataConfig
from specialists.datasets import Inputs, encode, load_dataset, read_unlabelled
from specialists.datasets.augmentation import random_affine, shift_pixels
from specialists.errors import DataError
from specialists.files import sha256


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


def paint(folder, colours, n=12, mode="RGB", size=(20, 16), suffix="png"):
    generator = np.random.default_rng(0)
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = generator.normal(colour, 9, (size[1], size[0], 3)).clip(0, 255)
            image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
            image.save(folder / name / f"{i}.{suffix}")


def load(folder, **settings):
    return load_dataset(DataConfig(images=str(folder), min_examples=4, **settings), seed=0)


COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"), [("RGB", "png", 3), ("L", "png", 1), ("RGB", "jpg", 3)]
)
def test_every_folder_is_a_class(tmp_path, mode, suffix, channels):
    paint(tmp_path, COLOURS, mode=mode, suffix=suffix)
    dataset = load(tmp_path, image_size=8)
    assert dataset.class_names == ("blue", "red")
    assert tuple(tensor(dataset.train.inputs).shape[1:]) == (channels, 8, 8)
    assert dataset.train.texts is not None
    assert dataset.train.texts[0].startswith("blue/")


def test_colours_survive_reading(tmp_path):
    paint(tmp_path, COLOURS)
    dataset = load(tmp_path)
    reds = tensor(dataset.train.inputs)[dataset.train.labels == 1].float().mean((0, 2, 3))
    torch.testing.assert_close(reds, torch.tensor([200.0, 30, 30]), atol=3, rtol=0)


def test_folders_called_train_and_test_are_splits(tmp_path):
    paint(tmp_path / "train", COLOURS, n=10)
    paint(tmp_path / "test", COLOURS, n=3, size=(10, 10))
    dataset = load(tmp_path)
    assert len(dataset.test) == 6
    assert len(dataset.validation) == 2


def test_transparent_pixels_are_white(tmp_path):
    paint(tmp_path, COLOURS)
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(clear)
    assert (tensor(encode(load(tmp_path).preprocessing, [clear])) == 255).all()


def test_unreadable_images_are_named(tmp_path):
    paint(tmp_path, COLOURS)
    (tmp_path / "red" / "broken.png").write_bytes(b"no image")
    whole = (tmp_path / "blue" / "1.png").read_bytes()
    (tmp_path / "blue" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2 unreadable images(?s:.*)cut.png(?s:.*)broken.png"):
        load(tmp_path)


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match="no class folders"):
        load(tmp_path)


def test_new_images_are_read_from_a_file_a_folder_and_an_array(tmp_path):
    paint(tmp_path / "data", COLOURS)
    preprocessing = load(tmp_path / "data").preprocessing
    one, names = read_unlabelled(tmp_path / "data" / "red" / "0.png", preprocessing)
    assert (tuple(tensor(one).shape), names) == ((1, 3, 32, 32), ("0.png",))
    many, names = read_unlabelled(tmp_path / "data" / "red", preprocessing)
    assert len(many) == len(names) == 12
    np.save(tmp_path / "new.npy", tensor(many).numpy())
    again, _ = read_unlabelled(tmp_path / "new.npy", preprocessing)
    assert torch.equal(tensor(many), tensor(again))


def disc(n=8, ink=255, paper=0):
    y, x = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    inside = (x - 11.5) ** 2 + (y - 11.5) ** 2 < 40
    return torch.where(inside, ink, paper).to(torch.uint8).expand(n, 1, 24, 24).clone()


def test_no_change_asked_is_no_change():
    images = torch.randint(0, 256, (4, 3, 12, 12), dtype=torch.uint8)
    same = random_affine(images, torch.Generator(), 0, 0, 0, 0)
    assert same.dtype == torch.uint8
    assert torch.equal(same, images)


@pytest.mark.parametrize(("ink", "paper"), [(255, 0), (0, 255), (90, 200)])
def test_what_comes_from_outside_is_background(ink, paper):
    moved = random_affine(
        disc(ink=ink, paper=paper), torch.Generator().manual_seed(0), 40, 0.1, 0.2, 0.2
    )
    rim = torch.cat([moved[..., 0, :], moved[..., -1, :]])
    assert (rim == paper).all()
    assert not torch.equal(moved, disc(ink=ink, paper=paper))


def test_every_image_moves_its_own_way_and_the_generator_repeats_it():
    images = disc()
    first, second = (random_affine(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert len(torch.unique(first.flatten(1), dim=0)) == len(images)


def test_a_rotation_of_an_oblong_image_keeps_a_disc_round():
    wide = torch.zeros(64, 1, 24, 48)
    wide[:, :, :, 12:36] = disc(64).float()
    turned = random_affine(wide, torch.Generator().manual_seed(0), 90, 0, 0, 0)
    torch.testing.assert_close(turned.sum((1, 2, 3)), wide.sum((1, 2, 3)), rtol=0.05, atol=0)
    assert (turned - wide).abs().amax((1, 2, 3)).median() < 200
    extent = (turned > 127).any(2).sum(-1)
    assert extent.max() <= 15


def test_a_shift_is_a_share_of_the_side():
    moved = random_affine(disc(200).float(), torch.Generator().manual_seed(0), 0, 0.25, 0, 0)
    columns = torch.arange(24.0)
    centre = (moved.sum((1, 2)) * columns).sum(-1) / moved.sum((1, 2, 3)) - 11.5
    assert 5.5 < centre.abs().max() <= 6.01


def test_runs_in_the_folder_of_images_are_no_classes_and_change_no_hash(tmp_path):
    paint(tmp_path, COLOURS)
    before = sha256(tmp_path)
    for place in ("runs/x", "runs/deeper/y", "red/mine"):
        create_run(tmp_path / place, Config())
    paint(tmp_path / "runs" / "x" / "prepare-data", {"thumbnails": (0, 0, 0)})
    dataset = load(tmp_path)
    assert dataset.class_names == ("blue", "red")
    assert sum(map(len, dataset.splits.values())) == 24
    assert any("folders of runs (2)" in note for note in dataset.notes)
    assert sha256(tmp_path) == before


def test_shifts_move_whole_pixels_and_fill_with_the_background():
    image = torch.full((1, 1, 5, 6), 9, dtype=torch.uint8)
    image[0, 0, 2, 3] = 200
    moved = tensor(shift_pixels(image.expand(400, -1, -1, -1), torch.Generator().manual_seed(0)))
    assert moved.dtype == torch.uint8
    assert moved.shape == (400, 1, 5, 6)
    assert set(moved.unique().tolist()) == {9, 200}
    places = {tuple(place) for place in (moved[:, 0] == 200).nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in range(5) for column in range(1, 6)}


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_shifted_as_a_loop_would(channels):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (9, channels, 7, 7), generator=generator, dtype=torch.uint8)
    draws = torch.randint(3, (2, 9), generator=torch.Generator().manual_seed(5))
    moved = tensor(shift_pixels(images, torch.Generator().manual_seed(5), most=1))
    for image, result, down, right in zip(images, moved, *draws.tolist(), strict=True):
        rows, columns = (slice(max(0, d - 1), 7 + min(0, d - 1)) for d in (down, right))
        targets = (slice(max(0, 1 - d), 7 + min(0, 1 - d)) for d in (down, right))
        assert torch.equal(result[:, *targets], image[:, rows, columns])


def test_no_image_and_no_shift_are_as_they_were():
    images = torch.rand(3, 1, 4, 4)
    assert torch.equal(tensor(shift_pixels(images, torch.Generator(), most=0)), images)
    assert len(shift_pixels(images[:0], torch.Generator())) == 0
