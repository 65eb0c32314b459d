"""Wrong and odd folders of images: read as meant and told, or refused with one message."""

import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipelines.__main__ import app
from specialists.config import DataConfig
from specialists.datasets import Inputs, load_dataset, read_unlabelled
from specialists.datasets.pictures import read_images, read_pictures
from specialists.errors import DataError, DataWarning
from specialists.files import sha256

CLASSES = ("cat", "dog", "owl")
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


def fill(folder: Path, classes=CLASSES, n=8, suffix=".png") -> Path:
    generator = np.random.default_rng(zlib.crc32(folder.name.encode()))
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}{suffix}")
    return folder


def load(folder, **settings):
    settings = {"min_examples": 4, "admission_fraction": 0, "image_size": 8, **settings}
    return load_dataset(DataConfig(images=str(folder), **settings), seed=0)


def rows(dataset):
    return {name: len(split) for name, split in dataset.splits.items()}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("training", "dev", "testing"),
    ],
)
def test_folders_of_splits_are_known_by_many_names(tmp_path, train, validation, test):
    for name, n in ((train, 8), (validation, 2), (test, 3)):
        fill(tmp_path / name, n=n)
    dataset = load(tmp_path)
    assert dataset.class_names == CLASSES
    assert rows(dataset) == {"train": 24, "validation": 6, "test": 9}


def test_two_folders_of_one_split_are_joined(tmp_path):
    for name in ("train", "test", "testing"):
        fill(tmp_path / name)
    assert rows(load(tmp_path))["test"] == 48


def test_what_systems_leave_in_folders_is_passed_over_and_counted(tmp_path):
    for name in ("train", "test", "__MACOSX", "@eaDir", ".git"):
        fill(tmp_path / name)
    for name in (".DS_Store", "Thumbs.db", "train/cat/.hidden.png", "train/cat/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    dataset = load(tmp_path)
    assert dataset.class_names == CLASSES
    told = dataset.notes[0].removeprefix("files and folders not used: ").split(", ")
    assert told[:2] == ["hidden (3)", "Thumbs.db (2)"]
    assert sorted(told[2:]) == ["@eaDir (1)", "__MACOSX (1)"]


def test_splits_beside_other_folders_with_images_are_refused(tmp_path):
    for name in ("Train", "test"):
        fill(tmp_path / name)
    fill(tmp_path / "extra", ("x",))
    with pytest.raises(DataError, match=r"side by side(?s:.*)Train, test beside extra"):
        load(tmp_path)


def test_splits_beside_a_folder_without_images_stay_splits(tmp_path):
    for name in ("train", "test"):
        fill(tmp_path / name)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "all.csv").write_text("a,b")
    dataset = load(tmp_path)
    assert dataset.class_names == CLASSES
    assert "folders without images left out (1): labels" in dataset.notes


def test_a_class_called_train_is_a_class(tmp_path):
    dataset = load(fill(tmp_path, ("train", "plane", "car")))
    assert dataset.class_names == ("car", "plane", "train")
    assert "taken as classes, since they hold no folders: train" in dataset.notes


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("train/.", "test/."), "hold no class folders(?s:.*)test, train"),
        (("test/cat", "val/cat"), "no folder of training images"),
        (("data/cat", "data/dog"), r"one class folder(?s:.*)images = '.*data'"),
        ((".",), r"no class folders with images(?s:.*)images outside class folders \(8\)"),
        ((".hidden/cat",), r"no class folders with images(?s:.*)hidden \(1\)"),
    ],
)
def test_folders_that_say_no_classes_are_refused(tmp_path, folders, told):
    for name in folders:
        fill(tmp_path, (name,))
    with pytest.raises(DataError, match=told):
        load(tmp_path)


def test_what_is_not_used_is_counted_by_suffix(tmp_path):
    fill(tmp_path)
    for name in ("a.txt", "cat/1.TXT", "cat/2.txt", "dog/3.mat", "dog/README"):
        (tmp_path / name).write_text("x")
    PICTURE.save(tmp_path / "loose.png")
    (tmp_path / "empty").mkdir()
    os.symlink(tmp_path / "gone.png", tmp_path / "owl" / "gone.png")
    notes = "\n".join(load(tmp_path).notes)
    for told in (".txt (3)", ".mat (1)", "without suffix (1)", "outside class folders (1)"):
        assert told in notes
    assert "links to nothing (1)" in notes
    assert "folders without images left out (1): empty" in notes


def test_images_in_folders_of_a_class_belong_to_it_and_are_told(tmp_path):
    fill(tmp_path)
    fill(tmp_path / "cat", ("persian",))
    dataset = load(tmp_path)
    assert dataset.class_names == CLASSES
    assert sum(rows(dataset).values()) == 32
    assert any("class (8), for instance" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("names", "classes", "told"),
    [
        (("cat", "cat ", "dog"), ("cat", "dog"), "white space"),
        (("caf\u00e9", "cafe\u0301", "dog"), ("caf\u00e9", "dog"), "Unicode form"),
        (("Cat", "cat", "dog"), ("Cat", "cat", "dog"), "look alike"),
    ],
)
def test_folders_of_one_name_are_one_class_and_others_are_told(tmp_path, names, classes, told):
    dataset = load(fill(tmp_path, names))
    assert dataset.class_names == classes
    assert any(told in note for note in dataset.notes)


def test_links_are_followed_but_not_in_circles(tmp_path):
    fill(tmp_path / "far", ("big",))
    data = fill(tmp_path / "data", ("cat", "dog"))
    os.symlink(tmp_path / "far" / "big", data / "owl")
    os.symlink(data, data / "self")
    os.symlink(data, data / "cat" / "up")
    os.symlink("loop", data / "cat" / "loop")
    dataset = load(data)
    assert dataset.class_names == CLASSES
    assert sum(rows(dataset).values()) == 24
    assert any("links back to a folder above (2)" in note for note in dataset.notes)


def test_the_hash_of_a_folder_sees_behind_links_and_odd_names(tmp_path):
    fill(tmp_path / "far", ("big",))
    data = fill(tmp_path / "data", ("cat",))
    os.symlink(tmp_path / "far" / "big", data / "owl")
    before = sha256(data)
    (tmp_path / "far" / "big" / "0.png").unlink()
    assert sha256(data) != before
    os.rename(data / "cat" / "0.png", os.fsencode(data / "cat") + b"/\xff.png")
    assert len(sha256(data)) == 64


def test_a_file_name_that_is_no_unicode_stops_nothing(tmp_path):
    data = fill(tmp_path / "data")
    os.rename(data / "cat" / "0.png", os.fsencode(data / "cat") + b"/\xff.png")
    (data / "cat" / os.fsdecode(b"a.\xff")).write_bytes(b"")
    settings = ("--set", f"data.images={data}", "--set", "data.min_examples=4")
    out = ("--out", str(tmp_path / "run"), "--until", "prepare-data")
    result = CliRunner().invoke(app, ["run", *settings, *out])
    assert result.exit_code == 0
    _, names = read_unlabelled(data / "dog", load(data).preprocessing)
    assert names[0] == "0.png"


@pytest.mark.parametrize(
    "suffix",
    [".png", ".PNG", ".JPG", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".TIFF", ".ppm"],
)
def test_many_formats_are_read_alike_in_training_and_prediction(tmp_path, suffix):
    dataset = load(fill(tmp_path, suffix=suffix))
    assert sum(rows(dataset).values()) == 24
    inputs, names = read_unlabelled(tmp_path / "cat" / f"0{suffix}", dataset.preprocessing)
    both = torch.cat([tensor(split.inputs) for split in dataset.splits.values()])
    assert (both == tensor(inputs)).flatten(1).all(1).sum() == 1
    assert names == (f"0{suffix}",)


def test_a_folder_of_new_images_tells_what_is_not_used(tmp_path):
    preprocessing = load(fill(tmp_path)).preprocessing
    (tmp_path / "cat" / "notes.txt").write_text("x")
    with pytest.warns(DataWarning, match=r"not used: \.txt \(1\)"):
        _, names = read_unlabelled(tmp_path / "cat", preprocessing)
    assert len(names) == 8


def read(path, channels=None):
    return read_pictures([path], PIXELS.shape[:2], channels)


def stored(path, picture=PICTURE, **options):
    picture.copy().save(path, **options)  # a picture keeps options of its last save
    return path


ROTATED = Image.Exif()
ROTATED[0x112] = 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pictures_are_turned_upright_once(tmp_path, suffix):
    lying = PICTURE.transpose(Image.Transpose.ROTATE_90)
    pixels = read(stored(tmp_path / f"a.{suffix}", lying, exif=ROTATED))[0][0]
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), PIXELS)


GREY = PICTURE.convert("L")
SIXTEEN = (np.asarray(GREY).astype(np.uint16)) * 257


@pytest.mark.parametrize(
    ("name", "picture", "options", "expected"),
    [
        ("a.jpg.png", PICTURE, {"format": "BMP"}, PIXELS),
        ("a.png", Image.fromarray(SIXTEEN), {}, np.asarray(GREY)[..., None]),
        ("a.tif", Image.fromarray(SIXTEEN.astype(np.int32)), {}, np.asarray(GREY)[..., None]),
        (
            "a.tif",
            Image.fromarray(SIXTEEN.astype(np.float32) / 257),
            {},
            np.asarray(GREY)[..., None],
        ),
        ("a.tif", Image.fromarray(SIXTEEN / np.float32(65535)), {}, np.asarray(GREY)[..., None]),
        ("a.tif", PICTURE.convert("CMYK"), {}, PIXELS),
        ("a.png", PICTURE, {"icc_profile": b"no profile"}, PIXELS),
        ("a.tif", PICTURE, {"save_all": True, "append_images": [GREY]}, PIXELS),
    ],
)
def test_odd_pictures_keep_their_pixels(tmp_path, name, picture, options, expected):
    pixels = read(stored(tmp_path / name, picture, **options))[0][0]
    np.testing.assert_allclose(pixels.transpose(1, 2, 0), expected, atol=1)


def test_a_transparent_entry_of_a_palette_is_white(tmp_path):
    palette = Image.new("P", (16, 20), 1)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.paste(0, (0, 0, 16, 10))
    pixels = read(stored(tmp_path / "a.png", palette, transparency=1))[0][0]
    assert (pixels[:, 10:] == 255).all()
    assert pixels[:, 0, 0].tolist() == [10, 20, 30]


def test_the_first_of_several_pictures_is_used_and_told(tmp_path):
    turned = PICTURE.rotate(180)
    path = stored(tmp_path / "a.png", save_all=True, append_images=[turned])
    pixels, notes = read(path)
    np.testing.assert_array_equal(pixels[0].transpose(1, 2, 0), PIXELS)
    assert notes[0].startswith("files of several pictures")


def test_a_warning_of_pillow_is_told_with_its_file(tmp_path):
    cut_exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00\x12\x01"
    path = stored(tmp_path / "a.jpg", exif=cut_exif)
    assert len(read(path)[0]) == 1
    with pytest.warns(DataWarning, match=r"in spite of a warning(?s:.*)a\.jpg \(Corrupt EXIF"):
        read_images([path], 3, (20, 16))


def test_a_picture_that_becomes_nearly_black_is_told(tmp_path):
    path = stored(tmp_path / "a.png", Image.fromarray(SIXTEEN // 257 * 16))  # of 12 bits
    assert re.search(r"a\.png \(its 16-bit values end at 3872 of 65535", read(path)[1][0])


def test_a_large_picture_is_read_without_a_word_and_a_larger_one_refused(tmp_path, monkeypatch):
    path = stored(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PIXELS[..., 0].size - 1)
    assert read(path)[1] == ()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PIXELS[..., 0].size // 2 - 1)
    with pytest.raises(DataError, match="too large: more than 318 pixels"):
        read(path)


def test_colour_after_grey_gives_all_pictures_three_channels(tmp_path):
    paths = [stored(tmp_path / f"{i}.png", GREY) for i in range(3)]
    assert read_pictures(paths, (20, 16))[0].shape[1] == 1
    paths.insert(2, stored(tmp_path / "c.png"))
    pixels = read_pictures(paths, (20, 16))[0]
    assert pixels.shape == (4, 3, 20, 16)
    np.testing.assert_array_equal(pixels[2].transpose(1, 2, 0), PIXELS)
    for i in (0, 1, 3):
        np.testing.assert_array_equal(pixels[i], np.broadcast_to(np.asarray(GREY), (3, 20, 16)))


def test_every_file_is_opened_once(tmp_path, monkeypatch):
    fill(tmp_path)
    opened = []
    original = Image.open
    monkeypatch.setattr(
        Image, "open", lambda path, **how: opened.append(path) or original(path, **how)
    )
    load(tmp_path)
    assert len(opened) == len(set(opened)) == 24


def test_a_large_photograph_is_read_at_a_smaller_scale(tmp_path):
    path = stored(tmp_path / "a.jpg", PICTURE.resize((128, 160), Image.Resampling.BILINEAR))
    small = read(path)[0][0].transpose(1, 2, 0)
    whole = np.asarray(Image.open(path).resize((16, 20), Image.Resampling.BILINEAR))
    assert np.abs(small.astype(int) - whole).mean() < 1.5


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def bomb(side):
    """A PNG of side x side black pixels, in few bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    data = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(suffix="png", keep=1.0):
    stream = io.BytesIO()
    PICTURE.save(stream, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    content = stream.getvalue()
    return content[: int(len(content) * keep)]


BROKEN = {
    "empty.png": (b"", "an empty file"),
    "text.png": (b"no picture", "no picture of these formats"),
    "page.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of these"),
    "vector.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture of these formats"),
    "cut.png": (encoded("png", 0.5), "truncated|Truncated|broken"),
    "cut.jpg": (encoded("jpg", 0.6), "[Tt]runcated"),
    "cut.webp": (encoded("webp", 0.5), "decoder|data"),
    "cut.gif": (encoded("gif", 0.5), "truncated|no picture"),
    "cut.bmp": (encoded("bmp", 0.5), "truncated"),
    "cut.tif": (encoded("tiff", 0.5), "truncated|no picture"),
    "cut.ppm": (encoded("ppm", 0.5), "truncated"),
    "head.png": (encoded("png")[:20], "no picture|runcated"),
    "huge.png": (bomb(20_000), "too large: more than 178,956,970 pixels"),
    "vast.png": (bomb(2**31 - 1), "too large"),
    "large.png": (bomb(10_000), "truncated"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_picture_is_refused_with_its_name(tmp_path, name):
    content, told = BROKEN[name]
    fill(tmp_path)
    (tmp_path / "dog" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"1 unreadable image\n.*{name} \(.*{told}"):
        load(tmp_path)


def test_all_unreadable_files_are_named_in_one_round(tmp_path):
    fill(tmp_path)
    for name, (content, _) in BROKEN.items():
        (tmp_path / "dog" / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{len(BROKEN)} unreadable images") as error:
        load(tmp_path)
    assert all(name in str(error.value) for name in BROKEN)


def test_unreadable_files_of_classes_that_are_left_out_do_not_matter(tmp_path):
    fill(tmp_path, (*CLASSES, "zebra"))
    (tmp_path / "zebra" / "cut.png").write_bytes(encoded("png", 0.5))
    assert load(tmp_path, exclude_labels=("zebra",)).class_names == CLASSES


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tiff", "ppm"])
def test_pictures_with_flipped_bits_are_read_or_named(tmp_path, suffix):
    generator, whole = np.random.default_rng(0), encoded(suffix)
    path = tmp_path / f"a.{suffix}"
    for _ in range(40):
        content = bytearray(whole)
        for place in generator.integers(0, generator.choice([40, len(whole)]), 2):
            content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        try:
            told = read(path, channels=3)[0].shape
        except DataError as error:
            told = str(error)
        assert told == (1, 3, 20, 16) or str(path) in told


@pytest.mark.parametrize("case", ["extra", "huge", "none"])
def test_the_command_ends_with_one_message_and_no_traceback(tmp_path, case):
    data = fill(tmp_path / "data" / "train") if case == "extra" else fill(tmp_path / "data")
    if case == "extra":
        fill(tmp_path / "data" / "other")
    if case == "huge":
        (data / "cat" / "scan.png").write_bytes(bomb(20_000))
    folder = tmp_path / ("nothing" if case == "none" else "data")
    result = CliRunner().invoke(
        app, ["run", "--set", f"data.images={folder}", "--out", str(tmp_path / "run")]
    )
    assert (result.exit_code, result.output.count("error:")) == (2, 1)
    assert "Traceback" not in result.output
    assert {"extra": "other", "huge": "scan.png", "none": "nothing"}[case] in result.output
