"""Terms beside what torchdistill 1.1.5, KD-Lib 0.0.32 and mdistiller compute, restated here.

The libraries themselves were asked on 2026-11-29; data/notebook/2026-11-29.md has what they said.
"""

import pytest
import torch
from torch.nn import functional as F

from specialists.distillation.terms import (
    Angles,
    Attention,
    BatchView,
    DecoupledTargets,
    Distances,
    Hint,
    Labels,
    Similarity,
    SoftTargets,
    StandardisedTargets,
)
from specialists.losses import DistillationLoss

N, C, PLACES = 8, 10, 9


def normal(*shape, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


Z, T, LABELS = normal(N, C, seed=1, scale=2), normal(N, C, seed=2, scale=3), torch.arange(N)
MAPS = normal(N, 4, 3, 3, seed=3), normal(N, 6, 3, 3, seed=4)
VECTORS = normal(N, 5, seed=5), normal(N, 7, seed=6)


def of_logits(term):
    return term(BatchView(Z, T, LABELS)).mean()


def of_layers(term, student, teacher):
    return term(BatchView(Z, None, None, {"h": student}, {"u": teacher})).mean()


def kl(z, t, temperature, mean="batchmean"):
    log_q, p = (z / temperature).log_softmax(1), (t / temperature).softmax(1)
    total = (p * (p.log() - log_q)).sum()
    return total / (N if mean == "batchmean" else N * C)


def torchdistill_attention(h, u):
    ours, theirs = (F.normalize(x.square().mean(1).flatten(1), dim=1) for x in (h, u))
    return (ours - theirs).square().mean()


def distances_of_all_pairs(h, u):
    """Both libraries: the mean also counts each row's distance of 0 to itself."""
    relative = []
    for x in (u, h):
        d = (x[:, None] - x[None]).square().sum(2).sqrt()
        relative.append(d / d[d > 0].mean())
    return F.smooth_l1_loss(*relative)


def angles_of_all_triples(h, u):
    """Both libraries: the mean also counts triples in which a row stands twice."""
    cosines = []
    for x in (u, h):
        towards = F.normalize(x[None] - x[:, None], dim=2)
        cosines.append(torch.einsum("jid,jkd->jik", towards, towards))
    return F.smooth_l1_loss(*cosines)


def similarity_of_norm(power):
    def value(h, u):
        ours, theirs = (F.normalize(x @ x.T, power, dim=1) for x in (h, u))
        return (ours - theirs).square().sum() / N**2

    return value


def mdistiller_decoupled(temperature, alpha, beta):
    chosen = F.one_hot(LABELS, C).bool()
    pairs = []
    for x in (T, Z):
        p = (x / temperature).softmax(1)
        pairs.append(torch.stack([p[chosen], p[~chosen].view(N, C - 1).sum(1)], 1).log())
    others = [(x / temperature)[~chosen].view(N, C - 1).log_softmax(1) for x in (T, Z)]
    parts = [(p.exp() * (p - q)).sum(1).mean() for p, q in (pairs, others)]
    return temperature**2 * (alpha * parts[0] + beta * parts[1])


def test_distillation_with_labels_is_that_of_torchdistill():
    found = DistillationLoss(4.0, 0.7)(Z, T, LABELS)
    torch.testing.assert_close(found, 0.3 * F.cross_entropy(Z, LABELS) + 0.7 * 16 * kl(Z, T, 4.0))
    torch.testing.assert_close(found, 0.7 * soft_targets() + 0.3 * of_logits(Labels()))


def soft_targets():
    return of_logits(SoftTargets(temperature=4.0))


def test_without_labels_torchdistill_leaves_out_the_square_of_the_temperature():
    torch.testing.assert_close(soft_targets(), 16 * kl(Z, T, 4.0))


def test_a_mean_over_classes_as_in_bann_of_kd_lib_is_smaller_by_their_number():
    torch.testing.assert_close(soft_targets(), C * 16 * kl(Z, T, 4.0, "mean"))


def test_standardised_logits_of_torchdistill_are_ours_at_another_temperature():
    """Its deviation divides by C - 1, where the paper's divides by C."""
    k = ((C - 1) / C) ** 0.5
    z, t = ((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) for x in (Z, T))
    ours = of_logits(StandardisedTargets(temperature=2.0 / k))
    torch.testing.assert_close(4 * kl(z, t, 2.0), k**2 * ours)


def test_decoupled_targets_are_those_of_their_authors():
    torch.testing.assert_close(
        of_logits(DecoupledTargets(temperature=4.0)), mdistiller_decoupled(4.0, 1.0, 8.0)
    )


@pytest.mark.parametrize(
    ("peer", "kind", "layers", "factor"),
    [
        (F.mse_loss, Hint, (MAPS[0], MAPS[1][:, :4]), 2.0),
        (torchdistill_attention, Attention, MAPS, 2 / PLACES),
        (distances_of_all_pairs, Distances, VECTORS, (N - 1) / N),
        (angles_of_all_triples, Angles, VECTORS, (N - 1) * (N - 2) / N**2),
        (similarity_of_norm(2), Similarity, VECTORS, 1.0),
    ],
)
def test_a_term_of_layers_is_that_of_torchdistill_times_a_factor(peer, kind, layers, factor):
    ours = of_layers(kind(layer="h", teacher_layer="u"), *layers)
    torch.testing.assert_close(peer(*layers), factor * ours)


def test_the_similarity_of_torchdistill_is_of_another_norm_than_its_paper_has():
    """It hands over 1, meant as the axis, where the norm's power stands."""
    ours = of_layers(Similarity(layer="h", teacher_layer="u"), *VECTORS)
    assert float(similarity_of_norm(1)(*VECTORS)) < 0.5 * float(ours)


def test_distances_of_features_far_from_zero_keep_their_digits():
    """By products of rows, as in both libraries, float32 loses them."""
    h, u = (0.01 * x + 100 for x in VECTORS)
    exact = of_layers(Distances(layer="h", teacher_layer="u"), h, u)
    found = of_layers(Distances(layer="h", teacher_layer="u"), h.float(), u.float())
    torch.testing.assert_close(float(found), float(exact), rtol=5e-3, atol=0)
