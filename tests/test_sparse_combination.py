"""The sparse path against ``combine`` on the full distribution that it stands for."""

from typing import Any

import pytest
import torch

from specialists.combination.minimiser import combine
from specialists.combination.sparse.sparse_minimiser import SparseCombination, combine_sparse
from specialists.combination.subset_tables import Subsets
from specialists.errors import ConvergenceError, ConvergenceWarning, InputError

N_CLASSES = 60


def solve(*arguments: Any, **options: Any) -> SparseCombination:
    return combine_sparse(*arguments, **options)


KINDS = {
    "one": [range(5, 12)],
    "disjoint": [range(0, 8), range(10, 18), range(20, 28), range(40, 48)],
    "sizes": [range(0, 3), range(10, 20), [59], range(30, 34)],
    "overlapping": [range(0, 20), range(10, 30), range(5, 40, 3), range(15, 50, 2)],
    "nested": [range(0, 5), range(0, 15), range(0, 40)],
    "same": [range(3, 9), range(3, 9)],
}


def problem(kind, n=80, k=10, seed=0, scale=3.0):
    """Sparse inputs of random rows; up to three active specialists in any order, -1 between."""
    generator = torch.Generator().manual_seed(seed)
    subsets = [torch.tensor(list(members)) for members in KINDS[kind]]
    full = torch.randn(n, N_CLASSES, generator=generator, dtype=torch.float64) * scale
    top = full.log_softmax(1).topk(k, dim=1)
    log_rest = (1 - top.values.exp().sum(1)).clamp(min=0).log()
    width = min(3, len(subsets))
    active = torch.rand(n, len(subsets), generator=generator).argsort(1)[:, :width]
    active[torch.rand(n, width, generator=generator) < 0.3] = -1
    s = max(len(subset) for subset in subsets)
    by_slot = torch.randn(n, width, s + 1, generator=generator, dtype=torch.float64) * scale
    for m, subset in enumerate(subsets):
        by_slot[..., len(subset) : s][active == m] = -torch.inf
    return top.indices, top.values, log_rest, by_slot.log_softmax(2), active, subsets


def dense(inputs, prior=None, weights=None):
    """``combine`` on the distribution that the sparse inputs stand for, and that distribution."""
    classes, log_probs, log_rest, by_slot, active, subsets = inputs
    n = len(classes)
    pi = torch.full((N_CLASSES,), 1 / N_CLASSES, dtype=torch.float64) if prior is None else prior
    pi = (pi / pi.sum()).expand(n, -1).scatter(1, classes, 0.0)
    g = pi / pi.sum(1, keepdim=True).clamp(min=1e-300) * log_rest.exp()[:, None]
    g = g.scatter(1, classes, log_probs.exp())
    chosen = torch.zeros(n, len(subsets), dtype=torch.bool)
    specialists = []
    for m, subset in enumerate(subsets):
        log_p = torch.full((n, len(subset) + 1), 1.0 / (len(subset) + 1), dtype=torch.float64).log()
        row, slot = (active == m).nonzero().unbind(1)
        log_p[row] = by_slot[row, slot][:, [*range(len(subset)), -1]]
        chosen[row, m] = True
        specialists.append(log_p)
    return combine(g.log(), specialists, subsets, chosen, weights), g


def spread_out(result, prior=None):
    """The result's full distribution: what is not named shares the rest as the prior says."""
    named = result.classes >= 0
    q = torch.zeros(len(named), N_CLASSES + 1, dtype=torch.float64)
    q.scatter_(1, result.classes.masked_fill(~named, N_CLASSES), result.log_probs.exp().double())
    seen = torch.zeros_like(q, dtype=torch.bool)
    seen.scatter_(1, result.classes.masked_fill(~named, N_CLASSES), True)
    q, seen = q[:, :-1], seen[:, :-1]
    pi = torch.ones(N_CLASSES, dtype=torch.float64) if prior is None else prior
    pi = pi.expand(len(q), -1).masked_fill(seen, 0.0)
    pi = pi / pi.sum(1, keepdim=True).clamp(min=1e-300)
    return q + pi * result.log_rest.exp().double()[:, None]


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_it_is_the_dense_combination_of_the_spread_out_generalist(kind, with_prior, scale):
    inputs = problem(kind, scale=scale)
    generator = torch.Generator().manual_seed(1)
    prior = torch.rand(N_CLASSES, generator=generator, dtype=torch.float64)
    prior = prior.masked_fill(prior < 0.3, 0.0) if with_prior else None
    weights = torch.rand(len(inputs[-1]), generator=generator, dtype=torch.float64) * 3 + 0.1
    expected, _ = dense(inputs, prior, weights)
    *arrays, subsets = inputs
    result = solve(
        *arrays, Subsets.from_indices(subsets, N_CLASSES), weights=weights, prior=prior, strict=True
    )
    q = spread_out(result, prior)
    torch.testing.assert_close(q.sum(1), torch.ones(len(q), dtype=torch.float64))
    torch.testing.assert_close(q, expected.log_probs.exp(), atol=1e-9, rtol=0)
    named = result.classes >= 0
    ordered = result.classes.masked_fill(~named, -1).sort(1).values
    assert not ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()


@pytest.mark.parametrize("kind", ["disjoint", "overlapping"])
def test_zeros_everywhere_still_agree(kind):
    classes, log_probs, log_rest, by_slot, active, subsets = problem(kind, seed=3)
    log_rest = torch.full_like(log_rest, -torch.inf)
    log_probs = log_probs.masked_fill(torch.arange(log_probs.shape[1]) > 3, -torch.inf)
    log_probs = log_probs.log_softmax(1)
    by_slot = by_slot.masked_fill(by_slot < -4, -torch.inf).log_softmax(2)
    inputs = (classes, log_probs, log_rest, by_slot, active, subsets)
    expected, _ = dense(inputs)
    result = solve(*inputs, n_classes=N_CLASSES, strict=True)
    q = spread_out(result)
    torch.testing.assert_close(q.sum(1), torch.ones(len(q), dtype=torch.float64))
    unique = expected.log_probs.exp()
    torch.testing.assert_close(q, unique, atol=1e-8, rtol=0)


def test_rows_without_active_specialists_keep_the_generalist():
    classes, log_probs, log_rest, by_slot, active, subsets = problem("disjoint")
    active = torch.full_like(active, -1)
    result = solve(classes, log_probs, log_rest, by_slot, active, subsets, n_classes=60)
    torch.testing.assert_close(result.classes[:, : classes.shape[1]], classes)
    torch.testing.assert_close(result.log_probs[:, : classes.shape[1]], log_probs)
    torch.testing.assert_close(result.log_rest, log_rest)
    assert (result.classes[:, classes.shape[1] :] == -1).all()
    assert result.converged.all()


def test_what_stands_in_unused_slots_is_not_read():
    classes, log_probs, log_rest, by_slot, active, subsets = problem("disjoint")
    inputs = (classes, log_probs, log_rest)
    expected = solve(*inputs, by_slot, active, subsets, n_classes=N_CLASSES)
    by_slot[active < 0] = torch.nan
    result = solve(*inputs, by_slot, active, subsets, n_classes=N_CLASSES)
    torch.testing.assert_close(result.log_probs, expected.log_probs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precisions_agree_to_their_precision(dtype):
    classes, log_probs, log_rest, by_slot, active, subsets = problem("overlapping", scale=1.0)
    exact = solve(classes, log_probs, log_rest, by_slot, active, subsets, n_classes=N_CLASSES)
    inputs = (log_probs.to(dtype), log_rest.to(dtype), by_slot.to(dtype))
    result = solve(classes, *inputs, active, subsets, n_classes=N_CLASSES)
    assert result.log_probs.dtype == torch.float32
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    q, expected = result.log_probs.double().exp(), exact.log_probs.exp()
    torch.testing.assert_close(q, expected, atol=tolerance, rtol=0)


def test_the_top_classes_are_the_most_probable_named_ones():
    classes, log_probs, log_rest, by_slot, active, subsets = problem("disjoint")
    result = solve(classes, log_probs, log_rest, by_slot, active, subsets, n_classes=N_CLASSES)
    top, values = result.top(3)
    q = spread_out(result)
    torch.testing.assert_close(q.gather(1, top), values.exp())
    torch.testing.assert_close(values.exp(), q.topk(3, dim=1).values)


def test_an_empty_batch_gives_an_empty_result():
    *arrays, subsets = problem("disjoint")
    result = solve(*(x[:0] for x in arrays), subsets, n_classes=N_CLASSES)
    assert result.log_probs.shape == (0, 10 + 3 * 8)


def test_rows_that_did_not_converge_are_told():
    *arrays, subsets = problem("overlapping")
    with pytest.warns(ConvergenceWarning, match="rows did not reach"):
        solve(*arrays, subsets, n_classes=N_CLASSES, tolerance=0.0)
    with pytest.raises(ConvergenceError):
        solve(*arrays, subsets, n_classes=N_CLASSES, tolerance=0.0, strict=True)


def replaced(i, change):
    inputs = list(problem("disjoint"))
    inputs[i] = change(inputs[i])
    return inputs


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (replaced(0, lambda x: x + 60), "classes are out of range"),
        (replaced(0, lambda x: x * 0), "classes of row 0 are not distinct"),
        (replaced(1, lambda x: x[:, 1:]), "log_probs has the wrong shape"),
        (replaced(1, lambda x: x - 1), "do not sum to 1"),
        (replaced(2, lambda x: x * torch.nan), "NaN"),
        (replaced(3, lambda x: x + 0.5), "specialists, row 0, slot"),
        (replaced(3, lambda x: x[..., 1:]), "specialists has the wrong shape"),
        (replaced(4, lambda x: x * 0), "active of row 0 are not distinct"),
        (replaced(4, lambda x: x + 9), "active are out of range"),
        (replaced(4, lambda x: x.double()), "active has the wrong shape or type"),
        (replaced(5, lambda x: [torch.arange(60), *x[1:]]), "wrong shape"),
    ],
)
def test_wrong_input_is_named(inputs, message):
    with pytest.raises(InputError, match=message):
        solve(*inputs, n_classes=N_CLASSES)


def test_a_prior_must_be_one():
    *arrays, subsets = problem("disjoint")
    with pytest.raises(InputError, match="prior"):
        solve(*arrays, subsets, n_classes=N_CLASSES, prior=-torch.ones(N_CLASSES))


def test_a_subset_of_all_classes_is_refused():
    *arrays, _ = problem("one")
    arrays[3] = torch.zeros(80, 1, 61, dtype=torch.float64).log_softmax(2)
    with pytest.raises(InputError, match="holds all classes"):
        solve(*arrays, [torch.arange(60)], n_classes=N_CLASSES)


def test_subsets_need_their_number_of_classes():
    *arrays, subsets = problem("disjoint")
    with pytest.raises(InputError, match="n_classes is missing"):
        solve(*arrays, subsets)


def test_subsets_that_cover_everything_leave_no_rest():
    arguments = {
        "classes": torch.tensor([[1]]),
        "log_probs": torch.tensor([[0.76]]).log(),
        "log_rest": torch.tensor([0.24]).log(),
        "specialists": torch.tensor([[[0.01, 0.99], [0.01, 0.99]]]).log(),
        "active": torch.tensor([[0, 1]]),
        "subsets": [torch.tensor([1]), torch.tensor([0])],
        "n_classes": 2,
    }
    result = solve(**arguments)
    assert float(result.log_rest) == -torch.inf
    torch.testing.assert_close(result.log_probs.exp().sum(), torch.tensor(1.0))


def test_mass_that_has_no_class_is_refused():
    classes, log_probs, log_rest, by_slot, active, _ = problem("one")
    everything = torch.arange(N_CLASSES).expand(len(classes), -1)
    half = torch.full(everything.shape, 0.5 / N_CLASSES, dtype=torch.float64).log()
    rest = torch.full_like(log_rest, 0.5).log()
    with pytest.raises(InputError, match="all classes named"):
        solve(everything, half, rest, by_slot, active, [torch.arange(5, 12)], n_classes=N_CLASSES)
    sizes = [torch.arange(7), torch.arange(10, 11)]
    everyone = torch.ones_like(active)
    with pytest.raises(InputError, match="specialists"):
        solve(classes, log_probs, log_rest, by_slot, everyone, sizes, n_classes=N_CLASSES)


@pytest.mark.parametrize(("i", "given"), [(0, [[1]]), (4, [[0]]), (0, torch.tensor([1]))])
def test_what_is_no_matrix_is_named(i, given):
    inputs = list(problem("one"))
    inputs[i] = given
    with pytest.raises(InputError, match="is not a"):
        solve(*inputs, n_classes=N_CLASSES)


def test_smaller_integers_serve_as_classes():
    classes, *values, active, subsets = problem("disjoint")
    expected = solve(classes, *values, active, subsets, n_classes=N_CLASSES)
    small = (classes.to(torch.uint8), *values, active.to(torch.int8))
    assert torch.equal(solve(*small, subsets, n_classes=N_CLASSES).log_probs, expected.log_probs)
