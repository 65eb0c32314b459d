"""What each model is, in words of several lengths."""

from __future__ import annotations

RIVALS = {
    "generalist_continued": "the generalist trained on, for as many FLOPs as the ensemble's rest",
    "generalist_wide": "a wider generalist of the same inference, for at most the same FLOPs",
    "generalist_ensemble": "independent generalists for the same training FLOPs, averaged",
    "generalist_ensemble_same_inference": "as few of them as the same inference pays for, rounded "
    "up",
    "generalist_ensemble_deferred": "some of them, the later ones asked only where the first is "
    "unsure or only about its most probable classes",
}
RIVALS_IN_SHORT = {
    "generalist_continued": "the same generalist trained longer",
    "generalist_wide": "a wider generalist",
    "generalist_ensemble": "several generalists",
    "generalist_ensemble_same_inference": "several generalists of the same inference",
    "generalist_ensemble_deferred": "several generalists that defer",
}
DESCRIPTIONS = {
    "generalist": "one network for all classes",
    "ensemble": "with specialists, combined as validation chose",
    "ensemble_paper": "KL, n = 1, weights 1, as in the paper",
    "ensemble_all": "every specialist for every example",
    "generalist_continued": "trained on, for the FLOPs of the ensemble's rest",
    "generalist_wide": "the ensemble's inference, at most its training FLOPs",
    "generalist_ensemble": "several, for the ensemble's training",
    "generalist_ensemble_same_inference": "those that its inference pays for, rounded up",
    "generalist_ensemble_deferred": "the later ones asked less, for the ensemble's inference",
    "student": "one network, taught by the ensemble",
    "student_hard_labels": "the same network, taught by labels alone",
}
