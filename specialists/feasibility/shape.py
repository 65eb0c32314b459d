"""What of the data do checks need? Their kind, and how many and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

from specialists.runs import Run, read_array, read_json

STAGE = "prepare-data"


@dataclass(frozen=True)
class DataShape:
    """Kind and size of prepared data.

    Parameters
    ----------
    kind : {"text", "features", "images"}
    n_classes : int
    n_train, n_test : int
        Rows.
    input_shape : tuple of int
        Of one row: () for text, (d,) for features, (channels, height, width) for images.
    """

    kind: str
    n_classes: int
    n_train: int
    n_test: int
    input_shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, run: Run) -> DataShape:
        """That of a run's prepared data, of which no row is read."""
        about = read_json(run.path(STAGE, "dataset.json"))
        shape = ()
        if about["kind"] != "text":
            shape = read_array(run.path(STAGE, "train.inputs.npy")).shape[1:]
        rows = about["rows"]
        return cls(
            about["kind"], len(about["class_names"]), rows["train"], rows["test"], tuple(shape)
        )
