"""Which generalists does a run train, and where do they lie?

One of each candidate width, of which validation keeps the best; those that predict each other's
training rows, to find clusters by; and those that specialists start from. Or the user gives a
trained one, which is taken as it is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch.nn import functional as F

from specialists.classifier import TrainedClassifier, calibrate_classifier
from specialists.clustering import ClassClusters
from specialists.cross_fitting import CrossFitted, cross_fitted_predictions
from specialists.files import copy_file, read_json, write_array, write_json
from specialists.json_record import null_if_unknown
from specialists.networks import (
    GivenGeneralist,
    NetworkSpec,
    TextTransformer,
    adopt_weights,
    build,
    check_tokens,
    n_parameters,
    output_order,
    read_foreign,
    read_spec,
    save_network,
    warn_if_near_chance,
    warn_of_other_inputs,
)
from specialists.networks.weights import GIVEN
from specialists.predictions import predict_outputs
from specialists.probability import mean_over_rows
from specialists.specialist import assign_generalists

from .classifiers import (
    MODEL,
    ClassifierTask,
    describe,
    load_classifier,
    train_classifiers,
)
from .context import RunContext
from .pieces import expect_pieces
from .runs import Run
from .terminal import log

STAGE = "train-generalist"
FLATTERED = (
    "validation and test rows that it was trained on make it look better than it is; its own split "
    "is given by data.split (tables), x_train, x_validation, x_test (arrays) or folders (images)"
)


def execute(run: Run) -> None:
    """Train a generalist of each candidate width and keep the best, or take the user's own."""
    context = RunContext.open(run.folder)
    expect_pieces(context, STAGE)
    if context.config.generalist.weights:
        _adopt(context)
        return
    if context.is_given:
        _take_predictions(context)
        return
    tasks = [width_task(context, width) for width in context.config.generalist.widths or ()]
    train_classifiers(tasks, run.jobs, "generalist")
    results = [read_json(task.folder / "result.json") for task in tasks]
    best = max(range(len(tasks)), key=lambda i: results[i]["top1"])
    candidates = [
        {
            "width": task.spec.width,
            "validation_loss": result["loss"],
            "validation_top1": result["top1"],
            "parameters": result["parameters"],
            "inference_flops": result["inference_flops"],
            "chosen": i == best,
        }
        for i, (task, result) in enumerate(zip(tasks, results, strict=True))
    ]
    write_json(context.path(STAGE, "widths.json"), candidates)
    classifier, spec = load_classifier(tasks[best].folder), tasks[best].spec
    _publish_predictions(context, classifier, spec)
    for name in ("metrics.jsonl", *MODEL):
        copy_file(tasks[best].folder / name, context.path(STAGE, name))
    n_epochs = round(classifier.cost.examples / len(context.dataset.train))
    log.info(f"{STAGE}: {when_best(classifier.best_epoch, n_epochs)}")


def when_best(epoch: int, n_epochs: int) -> str:
    """Whether more training may help, in a line."""
    if epoch < n_epochs:
        return f"it no longer improved after epoch {epoch} of {n_epochs}"
    return f"the last of {n_epochs} epochs was its best: more may help (generalist.epochs)"


def chosen_training(context: RunContext) -> Path | None:
    """The folder of the chosen generalist's training; None for one that was given."""
    if context.config.generalist.weights or context.is_given:
        return None
    widths = read_json(context.path(STAGE, "widths.json"))
    width = next(entry["width"] for entry in widths if entry["chosen"])
    return context.path(STAGE, "units", f"width-{width}")


def width_task(context: RunContext, width: int) -> ClassifierTask:
    """The training of a generalist of one width."""
    folder = context.path(STAGE, "units", f"width-{width}")
    return _task(context, folder, context.network_spec(width), context.seed("generalist"))


def _task(
    context: RunContext,
    folder: Path,
    spec: NetworkSpec,
    seed: int,
    rows: tuple[int, int] | None = None,
) -> ClassifierTask:
    return ClassifierTask(context.folder, folder, spec, context.config.generalist, seed, rows=rows)


def cross_fitted_generalists(run: Run, n_folds: int = 2) -> tuple[CrossFitted, list[str]]:
    """Predict the training rows by ``n_folds`` generalists of the chosen width.

    Returns the predictions and the folders of the trainings, below the run's.
    """
    context = RunContext.open(run.folder)
    spec = read_spec(context.path(STAGE))
    folders = [context.path("cluster-classes", "units", f"fold-{i}") for i in range(n_folds)]
    tasks = [
        _task(context, folder, spec, context.seed("fold", i), rows=(i, n_folds))
        for i, folder in enumerate(folders)
    ]
    train_classifiers(tasks, run.jobs, "cross-fitted generalists")
    fitted = cross_fitted_predictions(
        context.dataset.train, lambda fold, _: load_classifier(tasks[fold].folder), n_folds
    )
    return fitted, [context.below(task.folder) for task in tasks]


def read_subsets(context: RunContext) -> list[tuple[int, ...]]:
    """The classes of each cluster."""
    content = read_json(context.path("cluster-classes", "clusters.json"))
    return [tuple(subset.tolist()) for subset in ClassClusters.from_dict(content).subsets]


def initial_generalists(context: RunContext) -> list[ClassifierTask]:
    """The trainings of further generalists that specialists start from; often none.

    With ``specialists.start = "independent"`` there are as many as a class has specialists (on
    average, rounded). They have the run's recipe, and a seed each.
    """
    settings = context.config.specialists
    if settings.start != "independent" or settings.kind == "shared":
        return []
    spec = read_spec(context.path(STAGE))
    members = [label for subset in read_subsets(context) for label in subset]
    n_generalists = round(len(members) / len(set(members)))
    folders = [context.path("train-specialists", f"independent-{i}") for i in range(n_generalists)]
    return [
        _task(context, folder, spec, context.seed("independent", i))
        for i, folder in enumerate(folders)
    ]


def initial_folders(context: RunContext) -> list[Path]:
    """The folder of the generalist that each specialist starts from."""
    subsets, trainings = read_subsets(context), initial_generalists(context)
    if not trainings:
        return [context.path(STAGE)] * len(subsets)
    return [trainings[i].folder for i in assign_generalists(subsets, len(trainings))]


def _adopt(context: RunContext) -> None:
    """Take the user's trained network, its outputs in the order of the data's classes."""
    settings, dataset = context.config.generalist, context.dataset
    weights = read_foreign(Path(str(settings.weights)))
    warn_of_other_inputs(weights.path, dataset.preprocessing)
    order = output_order(weights, settings.classes, dataset.class_names)
    spec = context.network_spec()
    network = build(spec).eval()
    if isinstance(network, TextTransformer):
        check_tokens(network, dataset.train.inputs, settings.pretrained)
    context.check_head(network, spec, dataset.validation.inputs)
    notes = adopt_weights(network, weights, order, dataset.n_classes)
    log.info(f"train-generalist: took {settings.weights} as it is")
    for note in (order.note, *notes, FLATTERED):
        log.info(f"train-generalist: {note}")
    classifier = calibrate_classifier(network.to(context.device), dataset.validation)
    top1 = _publish_predictions(context, classifier, spec)
    about = describe(context, classifier.temperature)
    save_network(classifier.network, spec, context.path(STAGE), **about)
    warn_if_near_chance(top1, dataset.validation.labels, dataset.n_classes, settings.weights)


def _take_predictions(context: RunContext) -> None:
    """Stand in for a generalist of which only predictions are known; calibrate these."""
    validation, flops = context.dataset.validation, context.config.generalist.inference_flops
    network, asked = GivenGeneralist(flops).eval(), context.asked("validation")
    about = describe(context, 1.0)
    classifier = calibrate_classifier(network, replace(validation, inputs=asked))
    spec = context.network_spec()
    _publish_predictions(context, classifier, spec)
    about |= {"temperature": classifier.temperature, GIVEN: True, "inference_flops": flops}
    save_network(network, spec, context.path(STAGE), **about)
    log.info("train-generalist: the generalist is given as its predictions")


def _publish_predictions(
    context: RunContext, classifier: TrainedClassifier, spec: NetworkSpec
) -> float:
    """Write all about the chosen generalist but its network; returns its validation top-1."""
    network, folder = classifier.network.to(context.device), context.path(STAGE)
    validation = context.dataset.validation
    outputs = predict_outputs(network, context.asked("validation"))
    log_probs = F.log_softmax(outputs, dim=-1)
    write_array(folder / "validation.log_probs.npy", log_probs.numpy())
    write_json(folder / "calibration.json", {"temperature": classifier.temperature})
    right = (log_probs.argmax(-1) == validation.labels).double()
    top1 = float(mean_over_rows(right, validation.weights))
    result = {
        "top1": top1,
        **classifier.cost.to_dict(),
        "parameters": n_parameters(network),
        "inference_flops": null_if_unknown(classifier.inference_flops),
    }
    write_json(folder / "result.json", result)
    log.info(f"train-generalist: width {spec.width}, validation top-1 {top1:.3f}")
    return top1
