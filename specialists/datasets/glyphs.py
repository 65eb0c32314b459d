"""Which character is this? Unicode characters drawn by the fonts inside matplotlib.

2,320 letters, digits and symbols that at least 12 of 16 text faces (DejaVu, STIXGeneral) can draw,
white on black, at one size and baseline. Four faces are for the test and two for validation; none
of them is seen in training, and a face is one unit of chance. Homoglyphs: two characters whose
images agree pixel by pixel in at least half of the faces that draw both (A, Greek Alpha, Cyrillic
A) are one class; where they agree in fewer, they stay apart and each such image carries both as
valid labels. Held-out images that training has pixel by pixel (arrows and the like are shared by
faces) are left out.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from specialists.config import DataConfig
from specialists.datasets.assembly import LabelledRows, assemble
from specialists.datasets.base import Dataset
from specialists.datasets.observations import same_input
from specialists.datasets.pictures import check_memory
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION
from specialists.datasets.storage import cached
from specialists.errors import DataWarning

RECIPE = 3
IMAGE_SIZE = 32
MIN_FACES = 12
N_IMAGES = 26_000  # fewer than are drawn: 2,184 characters and more, each in at least 12 faces
TWIN_SHARE = 0.5
FACES: Mapping[str, int] = {
    "DejaVuSans": TEST,
    "DejaVuSans-Bold": TRAIN,
    "DejaVuSans-BoldOblique": TRAIN,
    "DejaVuSans-Oblique": TRAIN,
    "DejaVuSansMono": TEST,
    "DejaVuSansMono-Bold": TRAIN,
    "DejaVuSansMono-BoldOblique": TRAIN,
    "DejaVuSansMono-Oblique": VALIDATION,
    "DejaVuSerif": TEST,
    "DejaVuSerif-Bold": VALIDATION,
    "DejaVuSerif-BoldItalic": TRAIN,
    "DejaVuSerif-Italic": TRAIN,
    "STIXGeneral": TEST,
    "STIXGeneralBol": TRAIN,
    "STIXGeneralBolIta": TRAIN,
    "STIXGeneralItalic": TRAIN,
}
_INVISIBLE = "CZM"  # control, space, and marks that need a letter to stand on
_EM = 0.75  # font size and baseline as a share of the image


@dataclass(frozen=True)
class Drawings:
    """Every image with its face (index into ``FACES``) and its code point, face by face."""

    images: np.ndarray
    faces: np.ndarray
    points: np.ndarray


def load_glyphs(config: DataConfig) -> Dataset:
    """The glyphs data set, from the cache if it was built before.

    Of ``config`` only ``image_size`` (default 32) is used: the faces make the splits.
    """
    import matplotlib
    import PIL
    from PIL import features

    size = config.image_size or IMAGE_SIZE
    key = {"matplotlib": matplotlib.__version__, "pillow": PIL.__version__}
    key |= {"freetype": features.version("freetype2"), "recipe": RECIPE, "size": size}
    return cached("glyphs", key, lambda: _build(size))


def draw_faces(size: int = IMAGE_SIZE) -> Drawings:
    """Draw every visible character that at least 12 faces have, ``size`` pixels high and wide.

    The few widest glyphs are cut at the edge, and the tallest are moved down until they fit.
    """
    check_memory(N_IMAGES, 1, (size, size))
    drawn = [
        (image, face, point)
        for face, name in enumerate(FACES)
        for point, image in _draw_face(name, size)
    ]
    n_faces = Counter(point for _, _, point in drawn)
    kept = (row for row in drawn if n_faces[row[2]] >= MIN_FACES)
    images, faces, points = map(list, zip(*kept, strict=True))
    return Drawings(np.stack(images), np.array(faces), np.array(points))


def merge_twins(drawings: Drawings) -> dict[int, int]:
    """Map every code point to the smallest one of its class.

    Two code points are twins if their images are equal in at least half of the faces that draw
    both. A class is closed under being twins.
    """
    faces_of: dict[int, set[int]] = {}
    points_of: dict[tuple[int, bytes], list[int]] = {}
    shown = zip(drawings.images, drawings.faces.tolist(), drawings.points.tolist(), strict=True)
    for image, face, point in shown:
        faces_of.setdefault(point, set()).add(face)
        points_of.setdefault((face, image.tobytes()), []).append(point)
    alike = Counter(
        (a, b) for twins in points_of.values() for a, b in combinations(sorted(twins), 2)
    )
    first = {point: point for point in faces_of}
    for (a, b), n in sorted(alike.items()):
        if n >= TWIN_SHARE * len(faces_of[a] & faces_of[b]):
            low, high = sorted((first[a], first[b]))
            first.update({point: low for point, root in first.items() if root == high})
    return first


def _build(size: int) -> Dataset:
    import matplotlib
    import PIL

    rows = _rows(draw_faces(size))
    source = {
        "package": f"matplotlib {matplotlib.__version__}, drawn by Pillow {PIL.__version__}",
        "data": "16 text faces: 12 DejaVu, 4 STIXGeneral",
        "licence": "Bitstream Vera and DejaVu fonts licence, STIX Font License",
    }
    keep_all = DataConfig(name="glyphs", min_examples=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # repeats that stay are told in the notes
        about = {"kind": "images", "channels": 1, "height": size, "width": size}
        return assemble(rows, keep_all, 0, "glyphs", about, source)


def _rows(drawings: Drawings) -> LabelledRows:
    first = merge_twins(drawings)
    members: dict[int, list[int]] = {}
    for point, root in sorted(first.items()):
        members.setdefault(root, []).append(point)
    classes = sorted(members)
    labels = np.searchsorted(classes, [first[point] for point in drawings.points.tolist()])
    groups = same_input(drawings.images)
    parts = np.array(list(FACES.values()))[drawings.faces]
    given = _without_repeats(parts, drawings.faces, groups, labels)
    faces, shown = list(FACES), zip(drawings.points.tolist(), drawings.faces.tolist(), strict=True)
    return LabelledRows(
        raw=drawings.images[:, None],
        labels=labels,
        names=[_class_name(members[root]) for root in classes],
        given=given,
        texts=[f"{chr(point)} {_code(point)} {faces[face]}" for point, face in shown],
        notes=_notes(members, given),
        declared=drawings.faces,
        declared_as="a face",
    )


def _notes(members: Mapping[int, Sequence[int]], given: np.ndarray) -> tuple[str, ...]:
    merged = [twins for twins in members.values() if len(twins) > 1]
    return (
        f"{sum(map(len, members.values()))} characters in {len(given)} images of {len(FACES)} "
        f"faces; {len(members)} classes, since {sum(map(len, merged))} characters have a twin that "
        f"is equal in at least half of the faces and make {len(merged)} classes",
        f"{int((given == LEFT_OUT).sum())} images left out: held-out ones that lie in an earlier "
        "split too, and those of twins in the same face",
    )


def _draw_face(name: str, size: int) -> Iterator[tuple[int, np.ndarray]]:
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font
    from PIL import Image, ImageDraw, ImageFont

    path = Path(get_data_path(), "fonts", "ttf", f"{name}.ttf")
    # The basic layout draws one glyph a character and needs no optional library.
    font = ImageFont.truetype(str(path), round(_EM * size), layout_engine=ImageFont.Layout.BASIC)
    for point in sorted(FT2Font(str(path)).get_charmap()):
        character = chr(point)
        if unicodedata.category(character)[0] in _INVISIBLE:
            continue
        left, top, right, _ = font.getbbox(character, anchor="ls")
        canvas = Image.new("L", (size, size))
        place = (round((size - left - right) / 2), max(round(_EM * size), round(-top)))
        ImageDraw.Draw(canvas).text(place, character, fill=255, font=font, anchor="ls")
        pixels = np.asarray(canvas)
        if pixels.any():
            yield point, pixels


def _without_repeats(
    parts: np.ndarray, faces: np.ndarray, groups: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Parts, LEFT_OUT for twins in one face and for held-out images that lie in an earlier part.

    A class that looks the same in every face keeps its validation images: it has no others.
    """
    given = np.full(len(parts), LEFT_OUT)
    firsts = np.unique(np.stack([faces, labels, groups]), axis=1, return_index=True)[1]
    given[firsts] = parts[firsts]
    in_training = np.isin(groups, groups[given == TRAIN])
    elsewhere = (given == VALIDATION) & ~in_training
    alone = ~np.isin(labels, labels[elsewhere])
    in_validation = np.isin(groups, groups[given == VALIDATION])
    given[(given == TEST) & (in_training | in_validation)] = LEFT_OUT
    given[(given == VALIDATION) & in_training & ~alone] = LEFT_OUT
    return given


def _class_name(twins: Sequence[int]) -> str:
    also = f" (also {', '.join(map(_code, twins[1:]))})" if len(twins) > 1 else ""
    return f"{_code(twins[0])} {chr(twins[0])}{also}"


def _code(point: int) -> str:
    return f"U+{point:04X}"
