"""Plain modules, tensors in memory, no folder: the library without a run."""

import pytest
import small_run
import torch
from torch import nn

from specialists.classifier import TrainedClassifier, calibrate_classifier, train_classifier
from specialists.combination import combine
from specialists.config import Recipe, SpecialistsConfig
from specialists.cross_fitting import cross_fitted_predictions
from specialists.datasets.base import Split
from specialists.distillation import distil
from specialists.errors import ConfigError, DataError, InputError, TrainingError
from specialists.networks import split_frozen
from specialists.runtime import Hardware
from specialists.specialist import TrainedSpecialist, specialise, train_specialist
from specialists.trunk import Trunk

CPU = Hardware("cpu", "float32")
FAMILIES = [torch.arange(first, first + 3) for first in (0, 3, 6)]
RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=0.03)
SETTINGS = SpecialistsConfig(epochs=4, batch_size=32, learning_rate=0.03)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """The working folder, in which nothing may appear."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


def split(n_per_class: int, seed: int) -> Split:
    x, names = small_run.features(n_per_class, seed)
    return Split(torch.from_numpy(x), torch.tensor([small_run.NAMES.index(n) for n in names]))


def as_tensor(part: Split) -> torch.Tensor:
    """Its inputs, which are no ragged rows."""
    assert isinstance(part.inputs, torch.Tensor)
    return part.inputs


TRAIN, VALIDATION, TEST = split(40, 2), split(10, 3), split(50, 4)


def generalist(recipe: Recipe = RECIPE, **changes) -> TrainedClassifier:
    torch.manual_seed(0)
    network = small_run.branched(small_run.N_CLASSES)
    return train_classifier(network, TRAIN, VALIDATION, recipe, seed=1, hardware=CPU, **changes)


def specialist(base: TrainedClassifier, subset: torch.Tensor, **changes) -> TrainedSpecialist:
    network = specialise(base.network, small_run.N_CLASSES, subset)
    given = {"network": network, "settings": SETTINGS, "train": TRAIN, **changes}
    known = base.predictions(TRAIN.inputs)
    return train_specialist(
        subset=subset, validation=VALIDATION, predictions=known, seed=2, hardware=CPU, **given
    )


def nll(log_probs: torch.Tensor) -> float:
    """Of test rows, in nats."""
    return float(nn.functional.nll_loss(log_probs, TEST.labels))


def test_plain_modules_are_trained_calibrated_and_combined():
    base = generalist()
    experts = [specialist(base, subset) for subset in FAMILIES]
    said = base.predictions(TEST.inputs).dense()
    votes = [expert.log_probs(TEST.inputs) for expert in experts]
    joined = combine(said, votes, FAMILIES)
    assert bool(joined.converged.all())
    assert nll(joined.log_probs) < nll(said) - 0.02
    for expert, subset in zip(experts, FAMILIES, strict=True):
        natural = float(torch.isin(TRAIN.labels, subset).double().mean())
        assert expert.natural_share == pytest.approx(natural)
        mass = expert.log_probs(TEST.inputs)[:, :-1].exp().sum(1).mean()
        assert float(mass) == pytest.approx(natural, abs=0.05)  # the dustbin is corrected
        assert expert.cost.examples == expert.result.history[-1].examples


def test_a_training_without_a_folder_is_the_one_with_a_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    free, written = generalist(), generalist(folder=folder)
    assert free.to_dict() == written.to_dict()
    assert free.history == written.history
    assert (folder / "metrics.jsonl").read_text("utf-8").count("\n") == len(free.history) == 3
    for name, value in free.network.state_dict().items():
        assert torch.equal(value, written.network.state_dict()[name])


def test_a_specialised_copy_leaves_its_generalist_as_it_was():
    base = generalist()
    before = base.predictions(TEST.inputs).dense()
    specialist(base, FAMILIES[0])
    assert torch.equal(base.predictions(TEST.inputs).dense(), before)


def test_a_network_that_was_trained_elsewhere_is_calibrated_alone():
    base = generalist()
    found = calibrate_classifier(base.network, VALIDATION)
    assert (found.temperature, found.top1) == (base.temperature, pytest.approx(base.top1))
    assert found.loss == pytest.approx(base.loss, rel=1e-4)
    assert found.cost.examples == 0


def test_each_fold_is_predicted_by_a_classifier_that_never_saw_it():
    seen = {}

    def fit(fold: int, rest: Split) -> TrainedClassifier:
        seen[fold] = rest
        return train_classifier(
            small_run.branched(small_run.N_CLASSES),
            rest,
            VALIDATION,
            RECIPE,
            seed=fold,
            hardware=CPU,
        )

    found = cross_fitted_predictions(TRAIN, fit, 3)
    assert torch.equal(found.rows.sort().values, torch.arange(len(TRAIN)))
    assert found.predictions.dense().shape == (len(TRAIN), small_run.N_CLASSES)
    for fold, rest in seen.items():
        own = as_tensor(TRAIN)[found.rows[found.rows % 3 == fold]]
        assert not bool((own[:, None] == as_tensor(rest)).all(-1).any())
    assert found.cost.examples == 3 * 2 * len(TRAIN)


@pytest.mark.parametrize("augmented", [False, True])
def test_specialists_above_a_frozen_part_train_the_rest_alone(augmented):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(small_run.DIM, 12), nn.ReLU(), nn.Linear(12, 12))
    base = train_classifier(network, TRAIN, VALIDATION, RECIPE, seed=1, hardware=CPU)
    lower, upper = split_frozen(specialise(network, 12, FAMILIES[0]), ["0"])
    assert lower is not None
    trunk = Trunk.from_inputs(lower, TRAIN.inputs, VALIDATION.inputs, augmented)
    found = specialist(
        base, FAMILIES[0], network=upper, trunk=trunk, augment=half if augmented else None
    )
    assert torch.equal(lower.state_dict()["0.weight"], network.state_dict()["0.weight"])
    shape = found.log_probs(lower(TEST.inputs).detach()).shape
    assert shape == (len(TEST), 4)


def half(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Augmentation of raw inputs, which have other columns than features."""
    assert inputs.shape[1] == small_run.DIM
    return inputs * torch.rand(1, generator=generator)


def test_a_loss_that_is_not_finite_leaves_the_best_weights_in_the_network():
    network = nn.Sequential(nn.Linear(small_run.DIM, small_run.N_CLASSES))
    wild = RECIPE.model_copy(update={"learning_rate": 1e30, "warmup": 0.0})
    with pytest.raises(TrainingError, match=r"in the network \(epoch 0\)"):
        train_classifier(network, TRAIN, VALIDATION, wild, seed=1, hardware=CPU, keep_start=True)
    assert bool(network(TEST.inputs).isfinite().all())


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"subset": torch.tensor([12, 3])}, InputError, "12"),
        ({"network": small_run.branched(5)}, InputError, "5 outputs for 3 classes"),
        ({"settings": SpecialistsConfig()}, ConfigError, "learning rate"),
        ({"train": Split(TRAIN.inputs, TRAIN.labels % 3)}, DataError, "480 of 480 inside: 0, 1, 2"),
        ({"train": Split(TEST.inputs, TEST.labels)}, InputError, "480 predictions, 600 rows"),
    ],
)
def test_what_makes_no_specialist_is_told_before_it_is_trained(change, error, text):
    base = calibrate_classifier(small_run.branched(small_run.N_CLASSES), VALIDATION)
    with pytest.raises(error, match=text):
        specialist(base, **{"subset": FAMILIES[0], **change})


@pytest.mark.parametrize(
    ("train", "text"),
    [
        (Split(TRAIN.inputs, TRAIN.labels + 1), "none of the classes"),
        (Split(TRAIN.inputs, TRAIN.labels[1:]), "one label for each row"),
        (Split(as_tensor(TRAIN)[:0], TRAIN.labels[:0]), "no rows"),
    ],
)
def test_what_makes_no_classifier_is_told_before_it_is_trained(train, text):
    with pytest.raises(InputError, match=text):
        train_classifier(small_run.branched(12), train, VALIDATION, RECIPE, seed=1, hardware=CPU)


def test_a_specialist_of_no_class_or_of_all_is_refused():
    for n in (0, 12):
        with pytest.raises(InputError, match=f"{n} of 12 classes"):
            specialise(small_run.branched(12), 12, torch.arange(n))


@pytest.mark.parametrize(
    ("teacher", "text"),
    [
        (torch.zeros(480, 12), r"sum to 12(?s:.*)log_softmax"),
        (torch.full((480, 12), torch.nan), "sum to nan"),
        (torch.zeros(480), "matrix"),
        ("runs/x", r"no teacher(?s:.*)str(?s:.*)classifier\.predictions"),
        (lambda inputs: [0.5] * len(inputs), r"no predictions(?s:.*)list"),
    ],
)
def test_what_is_no_teacher_is_told(teacher, text):
    network = nn.Linear(small_run.DIM, 12)
    with pytest.raises(InputError, match=text):
        distil(network, teacher, TRAIN, VALIDATION, RECIPE, hardware=CPU)
