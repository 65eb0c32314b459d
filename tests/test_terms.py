"""Each term against a plain float64 oracle, with the invariances that its paper claims."""

import re

import numpy as np
import pytest
import reference
import torch
from torch import nn
from torch.nn import functional as F

from specialists.distillation import TERMS, Objective, read_terms
from specialists.distillation.by_terms import ObjectiveLoss, objective_loss
from specialists.distillation.terms import (
    Angles,
    Attention,
    BatchView,
    BinaryLabels,
    BinaryTargets,
    DecoupledTargets,
    Distances,
    Hint,
    KeptTargets,
    Labels,
    LogitMatching,
    Similarity,
    SoftTargets,
    StandardisedTargets,
    Term,
)
from specialists.distillation.watching import WatchedStudent
from specialists.errors import InputError
from specialists.losses import UNLABELLED, DistillationLoss

N = 7
RESPONSES = [
    Labels(smoothing=0.1),
    SoftTargets(temperature=3.0),
    LogitMatching(),
    DecoupledTargets(temperature=2.0, alpha=1.5, beta=4.0),
    StandardisedTargets(temperature=1.5),
    BinaryLabels(),
    BinaryTargets(temperature=2.0),
    BinaryTargets(temperature=2.0, exclusive=True),
]
OF_LAYERS = [
    Hint(layer="h", teacher_layer="u"),
    Attention(layer="h", teacher_layer="u"),
    Similarity(layer="h", teacher_layer="u"),
    Distances(layer="h", teacher_layer="u"),
    Angles(layer="h", teacher_layer="u"),
]
RELATIONS = OF_LAYERS[2:]
SHAPES = [(4, 6), (5, 6)], [(4, 3, 2), (2, 3, 2)]


def name(term: Term) -> str:
    return term.kind + ("_exclusive" if getattr(term, "exclusive", False) else "")


def normal(*shape, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def response_view(n_classes: int = 10, scale: float = 2.0) -> BatchView:
    labels = torch.arange(N) * 3 % n_classes
    student, teacher = (normal(N, n_classes, scale=scale, seed=seed) for seed in (1, 2))
    return BatchView(student, teacher, labels)


def layer_view(h=(4, 3, 2), u=(5, 3, 2), scale: float = 1.0) -> BatchView:
    layers = {"h": normal(N, *h, scale=scale, seed=3)}, {"u": normal(N, *u, scale=scale, seed=4)}
    return BatchView(normal(N, 10, seed=1), normal(N, 10, seed=2), None, *layers)


def expected(term: Term, view: BatchView) -> float:
    """By the plain oracle."""
    z, t = view.logits.numpy(), view.teacher.numpy()  # type: ignore[union-attr]
    labels = None if view.labels is None else view.labels.numpy()
    match term:
        case Labels():
            return reference.labels_term(z, labels, term.smoothing)
        case SoftTargets():
            return reference.soft_targets_term(z, t, term.temperature)
        case LogitMatching():
            return reference.logit_matching_term(z, t)
        case DecoupledTargets():
            settings = term.temperature, term.alpha, term.beta
            return reference.decoupled_term(z, t, labels, *settings)
        case StandardisedTargets():
            return reference.standardised_term(z, t, term.temperature)
        case BinaryLabels():
            return reference.binary_labels_term(z, np.eye(z.shape[1])[labels])
        case BinaryTargets():
            return reference.binary_targets_term(z, t, term.temperature, term.exclusive)
    raise AssertionError(term.kind)


@pytest.mark.parametrize("n_classes", [2, 10, 10_000])
@pytest.mark.parametrize("term", RESPONSES, ids=name)
def test_a_response_term_is_that_of_the_oracle_whatever_the_number_of_classes(term, n_classes):
    view = response_view(n_classes)
    rows = term(view)
    assert rows.shape == (N,)
    assert float(rows.mean()) == pytest.approx(expected(term, view), rel=1e-9, abs=1e-12)
    single = BatchView(view.logits.float(), view.teacher.float(), view.labels)  # type: ignore[union-attr]
    assert float(term(single).mean()) == pytest.approx(expected(term, view), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("term", RESPONSES, ids=name)
def test_a_teacher_in_single_precision_leaves_a_student_in_double_precision_as_it_is(term):
    view = response_view()
    mixed = BatchView(view.logits, view.teacher.float(), view.labels)  # type: ignore[union-attr]
    assert term(mixed).dtype == torch.float64


@pytest.mark.parametrize(
    ("kind", "oracle"),
    [
        (Attention, reference.attention_term),
        (Similarity, reference.similarity_term),
        (Distances, reference.distances_term),
        (Angles, reference.angles_term),
    ],
)
def test_a_term_of_layers_is_that_of_the_oracle(kind, oracle):
    view = layer_view()
    rows = kind(layer="h", teacher_layer="u")(view)
    h, u = view.features["h"].numpy(), view.teacher_features["u"].numpy()
    assert rows.shape == (N,)
    assert float(rows.mean()) == pytest.approx(oracle(h, u), rel=1e-9)


@pytest.mark.parametrize(("h", "u"), [((4,), (6,)), ((3, 4), (3, 6)), ((4, 3, 2), (6, 3, 2))])
def test_a_hint_is_compared_after_a_regressor_of_its_channels(h, u):
    view, objective = layer_view(h, u), Objective([OF_LAYERS[0]])
    objective.prepare(view)
    weight, bias = (one.detach().numpy() for one in objective.parameters())
    ours, theirs = view.features["h"].numpy(), view.teacher_features["u"].numpy()
    if len(h) == 2:  # of sequences the last axis is mapped
        ours, theirs = ours.swapaxes(1, 2), theirs.swapaxes(1, 2)
    oracle = reference.hint_term(ours, theirs, weight.reshape(6, 4), bias)
    assert float(objective(view).detach()) == pytest.approx(oracle, rel=1e-9)
    objective(view).backward()
    assert all(one.grad is not None and bool(one.grad.any()) for one in objective.parameters())


@pytest.mark.parametrize("term", [*RESPONSES, Distances(), Similarity(), Angles()], ids=name)
def test_the_gradient_of_logits_is_that_of_finite_differences(term):
    view = response_view(5)

    def value(z):
        return term(BatchView(z, view.teacher, view.labels)).sum()

    assert torch.autograd.gradcheck(value, view.logits.requires_grad_())


@pytest.mark.parametrize("term", OF_LAYERS, ids=name)
def test_the_gradient_of_a_layer_is_that_of_finite_differences(term):
    view, objective = layer_view((2, 2, 2), (3, 2, 2)), Objective([term])
    objective.prepare(view)

    def value(h):
        return objective(
            BatchView(view.logits, view.teacher, None, {"h": h}, view.teacher_features)
        )

    assert torch.autograd.gradcheck(value, view.features["h"].requires_grad_())


@pytest.mark.parametrize("term", [RESPONSES[1], *RESPONSES[3:]], ids=name)
def test_the_gradient_of_a_logit_does_not_shrink_with_the_number_of_classes(term):
    """The label's logit moves as much; all but logit matching are sums over classes."""
    sizes = []
    for n_classes in (10, 10_000):
        z, t = torch.zeros(1, n_classes), torch.full((1, n_classes), -20.0)
        t[0, 3] = 20.0
        z.requires_grad_()
        term(BatchView(z, t, torch.tensor([3]))).sum().backward()
        assert z.grad is not None
        sizes.append(float(z.grad[0, 3].abs()))
    assert 0.2 < sizes[0] / sizes[1] < 5


@pytest.mark.parametrize("term", [LogitMatching(), *RELATIONS], ids=name)
def test_a_mean_over_classes_or_features_does_not_grow_with_their_number(term):
    values = []
    for size in (10, 10_000):
        layers = {"h": normal(N, size, seed=3)}, {"u": normal(N, size, seed=4)}
        views = BatchView(normal(N, size, seed=1), normal(N, size, seed=2), None, *layers)
        values.append(float(term(views).mean()))
    assert values[1] < 3 * values[0]
    if isinstance(term, LogitMatching):  # half the variance of a difference
        assert values[1] == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("logit", [0, 1])
def test_soft_targets_become_logit_matching_at_a_high_temperature(logit):
    """Equations 2 to 4: T^2 (softmax(z / T) - softmax(t / T)) / T tends to (z - t) / C."""
    view = response_view(6)
    gradients = []
    for term in (LogitMatching(), SoftTargets(temperature=1e4), SoftTargets(temperature=1e2)):
        z = view.logits.clone().requires_grad_()
        term(BatchView(z, view.teacher)).sum().backward()
        assert z.grad is not None
        gradients.append(z.grad)
    gap = view.logits - view.every_class("this")
    torch.testing.assert_close(gradients[0], (gap - gap.mean(1, keepdim=True)) / 6)
    far, near = ((gradients[0] - other).abs().max() for other in gradients[1:])
    assert float(far) < 1e-3 * float(gradients[0].abs().max())
    assert float(near) == pytest.approx(100 * float(far), rel=0.1)  # the error falls as 1 / T


def test_decoupled_targets_are_the_kl_at_the_weights_that_their_paper_names():
    view = response_view(6)
    one = BatchView(view.logits[:1], view.teacher[:1], view.labels[:1])  # type: ignore[index]
    rest = 1 - float((one.teacher / 4.0).softmax(1)[0, one.labels[0]])  # type: ignore
    found = DecoupledTargets(temperature=4.0, alpha=1.0, beta=rest)(one)
    torch.testing.assert_close(found, SoftTargets(temperature=4.0)(one))


def test_label_smoothing_is_a_soft_target_that_tells_wrong_classes_nothing():
    view = response_view(5)
    assert view.labels is not None
    smoothed = 0.8 * F.one_hot(view.labels, 5).double() + 0.04
    kl = SoftTargets()(BatchView(view.logits, smoothed.log()))
    gap = Labels(smoothing=0.2)(view) - kl
    torch.testing.assert_close(gap, gap[:1].expand(N))  # the entropy, which is every row's


@pytest.mark.parametrize("term", [*RESPONSES[1:5], Similarity(), Distances(), Angles()], ids=name)
def test_a_shift_of_the_logits_changes_no_term_of_a_softmax(term):
    view = response_view()
    teacher = view.every_class("this")
    shifted = BatchView(view.logits + normal(N, 1), teacher - 5 * normal(N, 1), view.labels)
    torch.testing.assert_close(term(shifted), term(view))
    log_probs = teacher.log_softmax(1)
    torch.testing.assert_close(term(BatchView(view.logits, log_probs, view.labels)), term(view))


def test_standardised_logits_have_neither_shift_nor_scale():
    view = response_view()
    moved = BatchView(3.0 * view.logits + 1.0, 0.2 * view.teacher - 4.0)  # type: ignore[operator]
    torch.testing.assert_close(StandardisedTargets()(moved), StandardisedTargets()(view))
    same = BatchView(7.0 * view.teacher - 1.0, view.teacher)  # type: ignore[operator]
    assert float(StandardisedTargets()(same).abs().max()) < 1e-12


def rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(normal(size, size, seed=9)).Q


@pytest.mark.parametrize("term", RELATIONS, ids=name)
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_relations_do_not_see_rotations_nor_the_scale_of_features(term, side):
    view = layer_view((6,), (8,))
    h, u = view.features["h"], view.teacher_features["u"]
    moved = (1e-3 * h @ rotation(6), u) if side == "student" else (h, 1e3 * u @ rotation(8))
    if not isinstance(term, Similarity):
        moved = moved[0] + normal(6, seed=5), moved[1] - normal(8, seed=6)
    found = term(BatchView(view.logits, None, None, {"h": moved[0]}, {"u": moved[1]}))
    torch.testing.assert_close(found, term(view), rtol=1e-6, atol=1e-9)
    assert float(found.abs().min()) > 1e-6


def test_attention_does_not_see_the_scale_sign_or_order_of_channels():
    view = layer_view()
    moved = {"h": -1e-3 * view.features["h"].flip(1)}
    found = Attention(layer="h", teacher_layer="u")(
        BatchView(view.logits, None, None, moved, view.teacher_features)
    )
    torch.testing.assert_close(found, OF_LAYERS[1](view))
    assert 0 < float(found.min()) < float(found.max()) < 1


@pytest.mark.parametrize(
    "term", [*RESPONSES[1:5], BinaryTargets(), *RELATIONS, OF_LAYERS[1]], ids=name
)
def test_a_term_is_zero_where_student_and_teacher_agree(term):
    z, h = normal(N, 6, seed=1), normal(N, 3, 2, 2, seed=2)
    rows = term(BatchView(z, z.clone(), torch.arange(N) % 6, {"h": h}, {"u": h.clone()}))
    assert float(rows.abs().max()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("term", RESPONSES, ids=name)
def test_extreme_logits_in_half_precision_give_finite_terms_and_gradients(term, dtype):
    z = torch.tensor([[60000.0, 0.0, -60000.0], [0.0, 0.0, 0.0], [-8.0, 9.0, 1.0]]).to(dtype)
    t = torch.tensor([[-60000.0, 0.0, 60000.0], [1.0, 1.0, 1.0], [-60000.0, 0.0, 0.0]]).to(dtype)
    z.requires_grad_()
    rows = term(BatchView(z, t, torch.tensor([0, 2, 1])))
    assert rows.dtype == torch.float32
    rows.sum().backward()
    assert z.grad is not None
    assert bool(rows.isfinite().all())
    assert bool(z.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("term", OF_LAYERS, ids=name)
def test_extreme_features_in_half_precision_give_finite_terms_and_gradients(term, dtype):
    view = layer_view((2, 2, 2), (2, 2, 2))
    h, u = view.features["h"].to(dtype), view.teacher_features["u"].to(dtype)
    largest = 60000.0 if dtype == torch.float16 or isinstance(term, Hint) else 1e30
    h[:2], h[2], u[0] = largest, 0.0, 0.0  # rows that are one, and rows of zeros
    objective = Objective([term])
    objective.prepare(BatchView(view.logits, None, None, {"h": h}, {"u": u}))
    h.requires_grad_()
    value = objective(BatchView(view.logits, None, None, {"h": h}, {"u": u}))
    value.backward()
    assert h.grad is not None
    assert bool(value.isfinite())
    assert bool(h.grad.isfinite().all())


@pytest.mark.parametrize(
    "term", [SoftTargets(), DecoupledTargets(), BinaryTargets(exclusive=True)], ids=name
)
def test_probabilities_of_zero_are_taken_where_the_formula_allows_them(term):
    view = response_view(4)
    teacher = view.teacher.clone()  # type: ignore[union-attr]
    teacher[:, 0], teacher[0] = -torch.inf, torch.tensor([-torch.inf, -torch.inf, -torch.inf, 0.0])
    z = view.logits.clone().requires_grad_()
    rows = term(BatchView(z, teacher, torch.tensor([3, 0, 1, 2, 3, 1, 2])))
    rows.sum().backward()
    assert z.grad is not None
    assert bool(rows.isfinite().all())
    assert bool(z.grad.isfinite().all())


@pytest.mark.parametrize("term", [LogitMatching(), StandardisedTargets(), Distances()], ids=name)
def test_logits_of_minus_infinity_are_refused_where_logits_are_compared(term):
    view = response_view(4)
    teacher = view.teacher.clone()  # type: ignore[union-attr]
    teacher[2, 1] = -torch.inf
    with pytest.raises(InputError, match="not finite"):
        term(BatchView(view.logits, teacher, view.labels))


@pytest.mark.parametrize("term", [Labels(), DecoupledTargets(), BinaryLabels()], ids=name)
def test_rows_without_a_label_are_left_out_of_terms_that_need_one(term):
    view = response_view()
    assert view.labels is not None
    labels, known = view.labels.clone(), torch.tensor([0, 2, 3, 6])
    labels[[1, 4, 5]] = UNLABELLED
    rows = term(BatchView(view.logits, view.teacher, labels))
    assert rows[[1, 4, 5]].tolist() == [0, 0, 0]
    few = BatchView(view.logits[known], view.teacher[known], labels[known])  # type: ignore[index]
    torch.testing.assert_close(rows.mean(), term(few).mean())
    nothing = term(BatchView(view.logits, view.teacher, torch.full_like(labels, UNLABELLED)))
    assert not nothing.any()


def test_several_classes_may_be_right_and_some_answers_unknown():
    z = normal(N, 4, seed=1)
    answers = (normal(N, 4, seed=2) > 0).double()
    answers[0, 1], answers[3] = UNLABELLED, 0.25
    found = BinaryLabels()(BatchView(z, labels=answers)).mean()
    assert float(found) == pytest.approx(reference.binary_labels_term(z.numpy(), answers.numpy()))
    whole = answers.clamp_min(0).round().long()
    torch.testing.assert_close(
        BinaryLabels()(BatchView(z, labels=whole)),
        BinaryLabels()(BatchView(z, labels=whole.double())),
    )


@pytest.mark.parametrize(
    "answers", [torch.zeros(N, 3), torch.full((N, 4), 2.0), torch.zeros(N, 4) - 2]
)
def test_answers_that_are_none_are_refused(answers):
    with pytest.raises(InputError, match="answers to each class"):
        BinaryLabels()(BatchView(normal(N, 4), labels=answers))


def test_angles_of_many_rows_are_those_of_the_first_of_them():
    view = layer_view((6,), (8,))
    few = Angles(layer="h", teacher_layer="u", n_rows=4)
    rows = few(view)
    h, u = view.features["h"][:4].numpy(), view.teacher_features["u"][:4].numpy()
    assert float(rows.mean()) == pytest.approx(reference.angles_term(h, u), rel=1e-9)
    assert not rows[4:].any()


@pytest.mark.parametrize("term", RELATIONS, ids=name)
@pytest.mark.parametrize("n", [1, 2])
def test_a_batch_of_one_or_two_rows_gives_finite_relations(term, n):
    layers = {"h": normal(n, 3).requires_grad_()}, {"u": normal(n, 4, seed=1)}
    rows = term(BatchView(normal(n, 5), None, None, *layers))
    rows.sum().backward()
    assert bool(rows.isfinite().all())
    grad = layers[0]["h"].grad
    assert grad is not None
    assert bool(grad.isfinite().all())


def test_an_objective_is_the_weighted_sum_of_its_terms_and_rows():
    view, weights = response_view(), torch.arange(N).double() / 2  # of no mean of 1
    terms = [SoftTargets(temperature=2.0, weight=0.7), Labels(weight=0.3, smoothing=0.1)]
    parts = Objective(terms).parts(view, weights)
    for part, term in zip(parts, terms, strict=True):
        torch.testing.assert_close(part, term.weight * (term(view) * weights).mean())
    for w in (None, weights):
        torch.testing.assert_close(
            Objective(terms)(view, w),
            DistillationLoss(2.0, 0.7, 0.1)(view.logits, view.teacher, view.labels, w),  # type: ignore
        )


def test_kept_targets_are_soft_targets_of_their_own_temperature_alone():
    view = response_view()
    kept = KeptTargets((torch.arange(N),), 2.0, lambda z, numbers: z.sum(1) * numbers)
    rows = SoftTargets(temperature=2.0)(BatchView(view.logits, kept))
    torch.testing.assert_close(rows, 2.0 * view.logits.sum(1) * torch.arange(N))
    with pytest.raises(InputError, match="another temperature"):
        SoftTargets(temperature=1.0)(BatchView(view.logits, kept))
    with pytest.raises(InputError, match=r"logit_matching needs .* every class"):
        LogitMatching()(BatchView(view.logits, kept))


@pytest.mark.parametrize("term", RESPONSES, ids=name)
def test_what_a_term_needs_is_named_where_it_is_not_there(term):
    what = "labels" if "labels" in term.kind else "a teacher's predictions"
    with pytest.raises(InputError, match=f"the term {term.kind} needs {what}"):
        term(BatchView(normal(N, 4), labels=None if what == "labels" else torch.arange(N) % 4))
    if what != "labels":
        with pytest.raises(InputError, match="do not fit"):
            term(BatchView(normal(N, 4), normal(N, 5), torch.arange(N) % 4))


@pytest.mark.parametrize(
    ("term", "h", "u", "message"),
    [
        (OF_LAYERS[0], (4, 3, 2), (4, 2, 2), r"student h \[n, 4, 3, 2\], teacher u \[n, 4, 2, 2\]"),
        (OF_LAYERS[0], (4, 3, 2), (4,), r"student h \[n, 4, 3, 2\], teacher u \[n, 4\]"),
        (OF_LAYERS[0], (3, 4), (2, 4), "the same but for the channels"),
        (OF_LAYERS[0], (1, 2, 2, 2), (1, 2, 2, 2), "at most four axes"),
        (OF_LAYERS[1], (4, 3, 2), (4, 2, 2), r"student h \[n, 4, 3, 2\], teacher u \[n, 4, 2, 2\]"),
        (OF_LAYERS[1], (4,), (4,), "maps"),
    ],
)
def test_layers_whose_shapes_do_not_fit_are_named_with_both(term, h, u, message):
    with pytest.raises(InputError, match=message):
        Objective([term]).prepare(layer_view(h, u))


def test_every_term_has_a_kind_a_source_and_a_meaning_of_its_settings():
    for kind, term in TERMS.items():
        assert term.kind == kind
        assert re.search(r"\(\d\d\)", str(term.__doc__)) or kind.startswith(("labels", "binary"))
        assert "Source: " in str(term.__doc__) or kind == "binary_labels"
        assert all(field.description for field in term.model_fields.values())
    assert {type(term) for term in (*RESPONSES, *OF_LAYERS)} == set(TERMS.values())


def test_terms_are_read_from_tables():
    tables = [
        {"kind": "soft_targets", "weight": 0.5, "temperature": 4.0},
        {"kind": "hint", "layer": "hidden1"},
    ]
    assert read_terms(tables) == (SoftTargets(weight=0.5, temperature=4.0), Hint(layer="hidden1"))


def test_all_mistakes_of_terms_are_told_at_once():
    tables = [
        {"kind": "hints", "layer": "x"},
        {"kind": "hint", "layr": "x"},
        {"kind": "decoupled", "temperature": -1, "weight": "2"},
        {"weight": 1.0},
    ]
    with pytest.raises(InputError) as caught:
        read_terms(tables)
    for line in (
        "student.terms.0: no term of the kind 'hints'; did you mean `hint`?",
        "student.terms.1 (hint): `layer` must be given",
        "student.terms.1 (hint): unknown key `layr`; did you mean `layer`?",
        "student.terms.2 (decoupled): temperature = -1",
        "student.terms.2 (decoupled): weight = '2'",
        "student.terms.3: a term needs a kind: labels, soft_targets",
    ):
        assert line in str(caught.value)


def test_an_objective_needs_a_term():
    with pytest.raises(InputError, match="no terms"):
        Objective([])


@pytest.mark.parametrize("terms", [["labels"], SoftTargets(), [{"kind": "labels"}], [SoftTargets]])
def test_what_is_no_list_of_terms_is_refused(terms):
    with pytest.raises(InputError, match="an objective is a list of terms"):
        Objective(terms)


@pytest.mark.parametrize("term", [t for t in RESPONSES if "labels" not in t.kind], ids=name)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_teacher_of_nan_is_told_with_its_row(term, wrong):
    view = response_view()
    view.teacher[3, 1] = wrong  # type: ignore[index]
    with pytest.raises(InputError, match=r"are NaN or infinite\n  where: row 3"):
        term(view)


def test_a_layer_that_sees_a_batch_in_parts_is_told():
    class InParts(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(5, 3)

        def forward(self, x):
            return torch.cat([self.inner(part) for part in x.split(2)])

    network = InParts()
    objective = Objective([Hint(layer="inner")])
    watched = WatchedStudent(network, objective, network, torch.zeros(2, 5)).train()
    with pytest.raises(InputError, match=r"inner\n  got: 1 rows for 3 inputs"):
        watched(torch.zeros(3, 5))


def test_a_watched_teacher_is_asked_in_evaluation_mode_and_without_gradients():
    teacher = nn.Sequential(nn.Linear(5, 3), nn.Dropout()).train()
    student, x = nn.Sequential(nn.Linear(5, 3), nn.ReLU()), torch.randn(4, 5)
    objective = Objective([Hint(layer="0", teacher_layer="1"), SoftTargets()])
    watched = WatchedStudent(student, objective, teacher, x).train()
    seen = watched.seen(BatchView(watched(x)))
    for answer in (seen.teacher, seen.teacher_features["1"]):
        torch.testing.assert_close(answer, teacher[0](x))
        assert not answer.requires_grad  # type: ignore[union-attr]
    assert seen.logits.requires_grad


def test_rows_count_by_their_weights_in_a_training_by_terms():
    z, t, y, w = normal(N, 4, seed=1), normal(N, 4, seed=2), torch.arange(N) % 4, torch.arange(N)
    loss = ObjectiveLoss(Objective([SoftTargets(weight=0.7), Labels(weight=0.3)]))
    torch.testing.assert_close(loss(z, t, y, w), DistillationLoss(1.0, 0.7)(z, t, y, w))


def test_a_network_whose_layers_are_watched_beside_stored_targets_does_not_teach():
    network, x, stored = nn.Sequential(nn.Linear(5, 3)), torch.randn(4, 5), normal(4, 3).float()
    terms = [Hint(layer="0"), SoftTargets()]
    for teacher, asked in ((stored.log_softmax(1), True), (network, False)):
        both, loss, left = objective_loss(
            nn.Sequential(nn.Linear(5, 3)), terms, teacher, network, x
        )
        assert (left is teacher) == asked
        assert isinstance(both, WatchedStudent)
        seen = both.train().seen(BatchView(both(x), stored))
        torch.testing.assert_close(seen.teacher, stored if asked else network(x))
        assert loss.n_parts == asked


def test_a_regressor_is_trained_beside_the_student():
    objective = Objective([OF_LAYERS[0], OF_LAYERS[2], Distances()])
    objective.prepare(layer_view())
    assert isinstance(objective.adapters["0"], nn.Conv2d)
    assert list(objective.adapters) == ["0"]
    assert objective.layers() == (["h"], ["u"])
