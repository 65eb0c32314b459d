"""A finished run folder made of random predictions, in the formats of the real stages."""

from typing import Any

import numpy as np
import torch

from pipelines.runs import Run
from specialists.datasets.base import Dataset, Ragged, Split
from specialists.datasets.storage import save_dataset
from specialists.evaluation import details, evaluate, score_models
from specialists.files import write_array, write_json, write_text
from specialists.predictions import DensePredictions, ModelOutputs

SKILLS = {
    "generalist": (0.0, 1.0, 400_000, 40_000),
    "ensemble": (0.5, 2.3, 1_400_000, 180_000),
    "ensemble_paper": (0.3, 1.4, 1_400_000, 180_000),
    "ensemble_all": (0.5, 8.0, 1_400_000, 180_000),
    "generalist_continued": (0.05, 1.0, 400_000, 180_000),
    "generalist_wide": (0.45, 2.2, 1_000_000, 180_000),
    "generalist_ensemble": (0.4, 5.0, 2_000_000, 200_000),
    "generalist_ensemble_same_inference": (0.35, 3.0, 1_200_000, 120_000),
    "generalist_ensemble_deferred": (0.38, 2.3, 1_200_000, 120_000),
    "student": (0.1, 0.25, 90_000, 60_000),
    "student_hard_labels": (-0.5, 0.25, 90_000, 60_000),
}


def synthetic_run(
    folder, n_classes=24, n_test=400, kind="text", seed=0, names=None, skills=None, texts=True,
    members=None,
):  # fmt: skip
    """Write the artifacts that the report reads; classes 4k .. 4k+3 are confused.

    The last classes have no specialist; ``members`` are the specialists that may answer.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_test)
    names = names or [f"class {j}" for j in range(n_classes)]
    groups = [list(range(k, k + 4)) for k in range(0, n_classes - 4, 4)]
    outputs = _predictions(rng, labels, n_classes, SKILLS | (skills or {}))
    words = tuple(f"example <{i}> & “so on”" for i in range(n_test)) if texts else None
    dataset = _dataset(rng, labels, names, kind, words)
    run = Run(folder)
    write_text(run.folder / "config.toml", 'seed = 5\n\n[data]\nname = "<b>made</b> & up"\n')
    save_dataset(dataset, run.path("prepare-data"))
    scores = score_models(outputs, labels, dataset.test.valid)
    common: dict[str, Any] = {"seed": 5, "n_bootstrap": 100, "members": members, "scores": scores}
    evaluation = evaluate(outputs, labels, dataset.test.valid, groups, dataset="made", **common)
    more = details(
        outputs,
        labels,
        dataset.test.valid,
        groups,
        temperature=1.4,
        texts=dataset.test.texts,
        source_rows=dataset.test.rows,
        ask_specialists=lambda rows: _answers(rng, rows, labels, groups),
        **common,
    )
    write_json(run.folder / "evaluation.json", evaluation.to_dict())
    write_json(run.path("evaluate-models", "details.json"), more.to_dict())
    write_json(run.path("evaluate-models", "trainings.json"), dict.fromkeys(outputs, ()))
    for metric, values in (("top1", "correct"), ("nll", "nll")):
        table = np.stack([getattr(model, values) for model in scores.values()])
        write_array(run.path("evaluate-models", f"{metric}.npy"), table)
    _write_clusters(run, outputs["generalist"].predictions.dense().numpy(), groups, names)
    _write_training(run)
    return run


def _predictions(rng, labels, n_classes, skills):
    n = len(labels)
    shared = rng.normal(size=(n, n_classes))
    shared += 2.0 * (np.arange(n_classes) // 4 == (labels // 4)[:, None])
    shared[np.arange(n), labels] += 1.2
    outputs = {}
    for name, (skill, cost, parameters, seen) in skills.items():
        logits = shared + 0.35 * rng.normal(size=shared.shape)
        logits[np.arange(n), labels] += skill
        logits *= 1.6
        logits -= logits.max(1, keepdims=True)
        log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        flops = 250_000.0 * cost
        rows = log_probs.astype(np.float32)
        known = DensePredictions(torch.from_numpy(rows))
        outputs[name] = ModelOutputs(name, known, parameters, flops, seen, 3.0 * seen * flops)
    return outputs


def _dataset(rng, labels, names, kind, texts):
    n = len(labels)
    if kind == "images":
        inputs = torch.from_numpy(rng.integers(0, 256, (n, 1, 12, 12), dtype=np.uint8))
    elif kind == "text":
        inputs = Ragged(torch.zeros(n, dtype=torch.int32), torch.arange(n + 1))
    else:
        inputs = torch.zeros(n, 3)
    other = (labels // 4) * 4 + (labels + 1) % 4
    pairs = [
        sorted({int(y), int(z)} if i % 5 == 0 else {int(y)})
        for i, (y, z) in enumerate(zip(labels, np.minimum(other, len(names) - 1), strict=True))
    ]
    offsets = torch.tensor(np.cumsum([0, *map(len, pairs)]))
    valid = Ragged(torch.tensor([j for row in pairs for j in row]), offsets)
    valid = valid if kind == "text" else None
    is_text = kind == "text"
    lines = torch.arange(n) + 2 if is_text else None
    split = Split(inputs, torch.from_numpy(labels), valid, texts if is_text else None, lines)
    notes = ("3 classes with fewer than 20 rows were left out (41 rows)",)
    return Dataset("made", kind, tuple(names), split, split, split, {}, notes, {"rows": "line"})


def _answers(rng, rows, labels, groups):
    answers = {}
    for row in rows:
        m = min(int(labels[row]) // 4, len(groups) - 1)
        probs = rng.dirichlet(np.ones(len(groups[m]) + 1))
        answers[int(row)] = {m: np.log(probs).astype(np.float32)}
    return answers


def _write_clusters(run, log_probs, groups, names):
    probs = np.exp(log_probs.astype(float))
    write_array(run.path("cluster-classes", "covariance.npy"), np.cov(probs.T).astype(np.float32))
    shares = np.random.default_rng(1).dirichlet(np.ones(len(groups))) * 0.7
    clusters = [
        {
            "index": m,
            "size": len(group),
            "classes": group,
            "names": [names[j] for j in group],
            "share_of_confusions": float(shares[m]),
            "core": group,
        }
        for m, group in enumerate(groups)
    ]
    about = {
        "method": "balanced",
        "matrix": "covariance",
        "n_classes": len(names),
        "class_names": names,
        "share_of_confusions": 0.7,
        "clusters": clusters,
        "uncovered": list(range(4 * len(groups), len(names))),
    }
    write_json(run.path("cluster-classes", "clusters.json"), about)
    write_json(run.path("cluster-classes", "costs.json"), {"training_examples": 0})
    write_choice(run, {"rule": "kl", "n": 3, "weight": 2.0})


def write_choice(run, chosen, asked=1.0, **admission):
    """What validation chose; without ``admission`` it was not tested."""
    untested = {"method": "whole", "alpha": 0.05, "n_rows": 0, "n_groups": 0, "rule": chosen}
    untested |= {"whole": None, "specialists": [], "outcome": "not tested", "reason": "no rows"}
    choice = {"chosen": chosen, "rules": {"ensemble": chosen}, "candidates": [], "generalist": {}}
    choice |= {"relative_cost": 1.0, "within_max_cost": True, "asked": asked}
    path = run.path("combine-predictions", "choice.json")
    write_json(path, {**choice, "admission": untested | admission})


def _write_training(run):
    places = [
        ("train-generalist", 12),
        *((f"train-specialists/specialist-{m:03d}", 8) for m in range(4)),
        ("distill-student/student", 10),
        ("distill-student/student_hard_labels", 10),
        ("evaluate-models/baselines/generalist_wide-0", 12),
    ]
    for place, epochs in places:
        lines = [
            f'{{"epoch": {e}, "train_loss": {3 / (e + 1) + 0.2:.4f}, '
            f'"validation_loss": {2.4 / (e + 1) + 0.6 + 0.02 * e:.4f}}}\n'
            for e in range(epochs)
        ]
        write_text(run.folder / place / "metrics.jsonl", "".join(lines))
    for seconds, stage in enumerate(("prepare-data", "train-generalist", "train-specialists"), 3):
        write_json(run.path(stage, "timing-stage.json"), {"seconds": 17.3 * seconds})
