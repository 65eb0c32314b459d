"""Does an ensemble take the time that its operations promise? Rows of the speed benchmark.

Ensembles of the shapes of `languages` and `omniglot` with random weights. Heads are scaled so that
inputs differ in their most probable classes, which choose the specialists, and in how sure the
generalist is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from specialists.calibration import Calibration
from specialists.config import Config
from specialists.datasets import load_dataset
from specialists.datasets.base import Inputs
from specialists.distillation import student_spec
from specialists.ensemble import (
    CombinationRule,
    Ensemble,
    active_specialists,
    cost_sample,
    join,
)
from specialists.networks import NetworkSpec, build, inference_flops
from specialists.predictions import DensePredictions, network_predictions
from specialists.predictor import Predictor
from specialists.probability import tempered_log_softmax
from specialists.specialist import Specialist
from specialists.training import TrainingCost

from .markdown_tables import Line

# Of the classes, in each subset: of `languages` after one run, where every class was added to the
# specialist of those that it is confused with, and of `omniglot`.
LOPSIDED = (0.98, 0.02, 0.5, 0.26, 0.14, 0.04, 0.03, 0.03)
EVEN = (0.25,) * 8
ROWS = (1, 32, 1000)
SPREAD = 3.0  # of the logits of a row, standard deviation
TEMPERATURE = 1.1


@dataclass(frozen=True)
class ModelsAndInputs:
    """An ensemble, its student, and inputs as its user has them and as networks take them."""

    name: str
    ensemble: Ensemble
    student: nn.Module
    predictor: Predictor
    raw: list[str] | np.ndarray
    inputs: Inputs


def inference_speed(quick: bool) -> list[Line]:
    """A line a shape and number of rows; milliseconds are of the processor, of the best round."""
    lines = []
    for measured in (text_models(quick), image_models(quick)):
        for n in ROWS[:2] if quick else ROWS:
            lines.append(_line(measured, n, 1 if quick else max(10, 200 // n)))
    return lines


def _line(measured: ModelsAndInputs, n: int, n_rounds: int) -> Line:
    ensemble, student = measured.ensemble, measured.student
    inputs = measured.inputs[torch.arange(n)]
    alone = dataclasses.replace(ensemble, rule=CombinationRule("kl", 1, members=()))
    times = best_cpu_ms(
        {
            "generalist": partial(alone.predictions, inputs),
            "before": partial(predicted_before, ensemble, inputs),
            "after": partial(ensemble.predictions, inputs),
            "student": partial(network_predictions, student, inputs, TEMPERATURE),
            "proba": partial(measured.predictor.predict_proba, measured.raw[:n]),
            "its network": partial(_outputs, student, inputs),
        },
        n_rounds,
    )
    flops = relative_flops(ensemble, inputs)
    students = inference_flops(student, inputs) / ensemble.flops(inputs)[0]
    ratio, ratio_of_student = (times[k] / times["generalist"] for k in ("after", "student"))
    return {
        "shape": measured.name,
        "rows": f"{n:,}",
        "generalist, ms": f"{times['generalist']:.2f}",
        "ensemble before, ms": f"{times['before']:.2f}",
        "after, ms": f"{times['after']:.2f}",
        "before / after": f"{times['before'] / times['after']:.1f}",
        "FLOPs of the ensemble": f"{flops:.2f}",
        "time of the ensemble": f"{ratio:.2f}",
        "time / FLOPs of the ensemble": f"{ratio / flops:.2f}",
        "FLOPs of the student": f"{students:.2f}",
        "time of the student": f"{ratio_of_student:.2f}",
        "time / FLOPs of the student": f"{ratio_of_student / students:.2f}",
        "predict_proba beyond its network, ms": f"{times['proba'] - times['its network']:.2f}",
    }


def relative_flops(ensemble: Ensemble, inputs: Inputs) -> float:
    """Of the ensemble over its generalist's, for inputs on the networks' device."""
    alone = dataclasses.replace(ensemble, rule=CombinationRule("kl", 1, members=()))
    generalist, each = ensemble.flops(inputs)
    active = active_specialists(alone.predictions(inputs), ensemble.subsets, ensemble.rule)
    return 1.0 + float(active.double().mean(0) @ each) / generalist


def best_cpu_ms(jobs: Mapping[str, Callable[[], object]], n_rounds: int) -> dict[str, float]:
    """Milliseconds of each job in its best round; the jobs take turns."""
    best = dict.fromkeys(jobs, float("inf"))
    for job in jobs.values():
        job()
    for _ in range(n_rounds):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            best[name] = min(best[name], 1e3 * (time.process_time() - start))
    return best


@torch.inference_mode()
def _outputs(network: nn.Module, inputs: Inputs) -> Tensor:
    return network(inputs)


def predicted_before(ensemble: Ensemble, inputs: Inputs) -> Tensor:
    """What `Ensemble.predictions` did: an n x k matrix of each specialist, all rows joined."""
    every = torch.arange(len(inputs))
    logits = _gathered_outputs(ensemble.upper, inputs[every])
    generalist = DensePredictions(tempered_log_softmax(logits, ensemble.temperature))
    active = active_specialists(generalist, ensemble.subsets, ensemble.rule)
    answers = []
    for m, specialist in enumerate(ensemble.specialists):
        rows, k = active[:, m].nonzero().squeeze(1), len(specialist.subset) + 1
        answer = torch.full((len(active), k), -float(np.log(k)))
        if len(rows):
            outputs = _gathered_outputs(specialist.network, inputs[rows])
            answer[rows] = specialist.calibration.log_probs(outputs)
        answers.append(answer)
    joined = join(generalist, answers, ensemble.subsets, active, ensemble.rule)
    return torch.cat([joined.dense()])


@torch.no_grad()
def _gathered_outputs(network: nn.Module, inputs: Inputs) -> Tensor:
    network.eval()
    out = network(inputs[torch.arange(len(inputs))]).float()
    outputs = torch.empty((len(inputs), *out.shape[1:]))
    outputs[torch.arange(len(inputs))] = out
    return outputs


def text_models(quick: bool) -> ModelsAndInputs:
    """Test strings and the networks of `languages`."""
    config = Config.from_toml("languages", [f"data.max_examples={1000 if quick else 7000}"])
    dataset = load_dataset(config.data, config.seed)
    test, preprocessing = dataset.test, dataset.preprocessing
    spec = NetworkSpec("hashed_text", 239, n_buckets=2**8 if quick else 2**20)
    smaller = dataclasses.replace(spec, n_buckets=2**6 if quick else 2**18)
    rule = CombinationRule("kl", 1, 4.0)
    texts = list(test.texts or ())
    return _models("languages", spec, smaller, rule, preprocessing, texts, test.inputs, LOPSIDED)


def image_models(quick: bool) -> ModelsAndInputs:
    """Blurred noise, and the networks of `omniglot`; half of the rows are deferred."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, size=(max(ROWS), 7, 7), dtype=np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    preprocessing = {"kind": "images", "channels": 1, "height": 28, "width": 28}
    spec = NetworkSpec("resnet", 97 if quick else 1623, (1, 28, 28), width=8 if quick else 48)
    rule = CombinationRule("kl", 1, 1.0, defer_above=0.5)
    inputs = torch.from_numpy(images)[:, None]
    return _models("omniglot", spec, spec, rule, preprocessing, images, inputs, EVEN)


def _models(
    name: str,
    spec: NetworkSpec,
    of_specialists: NetworkSpec,
    rule: CombinationRule,
    preprocessing: Mapping[str, object],
    raw: list[str] | np.ndarray,
    inputs: Inputs,
    shares: Sequence[float],
) -> ModelsAndInputs:
    """An ensemble of specialists, two of which know nearly each class."""
    torch.manual_seed(0)
    sample = cost_sample(inputs, 256)
    subsets = _subsets(spec.n_classes, shares)
    specialists = []
    for subset in subsets:
        narrower = dataclasses.replace(of_specialists, n_outputs=len(subset) + 1)
        network = _decided(build(narrower), sample)
        calibration = Calibration(0.5, TEMPERATURE, 0.1)
        specialists.append(Specialist(network, subset, calibration, TrainingCost()))
    upper = _decided(build(spec), sample)
    ensemble = Ensemble(upper, specialists, rule, TEMPERATURE)
    if rule.defer_above is not None:
        limit = float(ensemble.generalist_predictions(sample).confidence().median())
        ensemble = dataclasses.replace(ensemble, rule=dataclasses.replace(rule, defer_above=limit))
    kind = str(preprocessing["kind"])
    settings = Config.from_toml(name).resolve(kind).student
    student = _decided(build(student_spec(spec, settings, kind)), sample)
    names = tuple(f"class {c}" for c in range(spec.n_classes))
    predict = partial(network_predictions, student, temperature=TEMPERATURE)
    predictor = Predictor(names, preprocessing, predict)
    return ModelsAndInputs(name, ensemble, student, predictor, raw, inputs)


def _subsets(n_classes: int, shares: Sequence[float]) -> list[Tensor]:
    """Two partitions of the classes, in order of all shares, which add up to two."""
    order = torch.cat([torch.randperm(n_classes), torch.randperm(n_classes)])
    ends = (torch.tensor(shares).cumsum(0) * n_classes).round().long()
    return [part.unique() for part in order.tensor_split(ends[:-1])]


@torch.no_grad()
def _decided(network: nn.Module, sample: Inputs) -> nn.Module:
    """The network with a head by which inputs differ."""
    network.eval()
    head = network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    logits = network(sample)
    scale = SPREAD / float((logits - logits.mean(0)).std())
    head.weight.mul_(scale)
    head.bias.sub_(logits.mean(0)).mul_(scale)
    return network
