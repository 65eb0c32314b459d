"""The combination is the minimiser: against slow oracles, by its own conditions, at its edges."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    dense,
    expectation_maximisation,
    forward_objective,
    kkt_violation,
    random_problem,
    reverse_objective,
    solve_with_cvxpy,
)

from specialists.combination import combine
from specialists.errors import ConvergenceError, ConvergenceWarning, InputError

KINDS = ["one", "disjoint", "covering", "nested", "overlapping", "mixed"]
INF = math.inf
quiet = pytest.mark.filterwarnings("ignore::specialists.errors.ConvergenceWarning")


def logs(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def indices(*values):
    return torch.tensor(values, dtype=torch.int64)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_random_cases_agree_with_expectation_maximisation(kind, seed):
    arguments = random_problem(kind, 420, seed)
    result = combine(*arguments)
    q, problem = result.log_probs.exp(), dense(*arguments)
    oracle, converged = expectation_maximisation(problem)
    assert converged.double().mean() > 0.8
    assert (q - oracle).abs().amax(1)[converged].max() < 1e-9
    assert (forward_objective(problem, q) - forward_objective(problem, oracle)).max() < 1e-11
    assert (q.sum(1) - 1).abs().max() < 1e-9
    assert result.converged.all()


@pytest.mark.parametrize("kind", KINDS)
def test_masses_spread_over_sixty_decades_still_converge(kind):
    arguments = random_problem(kind, 300, 1, decades=60)
    result = combine(*arguments)
    q, problem = result.log_probs.exp(), dense(*arguments)
    oracle, _ = expectation_maximisation(problem, n_steps=300)
    assert result.converged.all()
    assert result.kkt_residual.max() < 1e-10
    assert (forward_objective(problem, q) - forward_objective(problem, oracle)).max() < 1e-11
    assert (q.sum(1) - 1).abs().max() < 1e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("decades", [3, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_thousand_rows_satisfy_the_conditions(kind, decades, dtype, tolerance):
    generalist, specialists, subsets, active, weights = random_problem(
        kind, 8400, 17, decades=decades
    )
    generalist, specialists = generalist.to(dtype), [p.to(dtype) for p in specialists]
    result = combine(generalist, specialists, subsets, active, weights, tolerance=tolerance)
    assert result.converged.all()
    problem = dense(generalist, specialists, subsets, active, weights)
    assert kkt_violation(problem, result.log_probs.double().exp()).max() < tolerance


@quiet
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interior_point_solver_agrees(kind, direction):
    arguments = random_problem(kind, 20, 5, n_classes=6, decades=1)
    result = combine(*arguments, direction=direction)
    problem, q = dense(*arguments), result.log_probs.exp()
    rows = result.converged.nonzero().squeeze(1)
    other = [torch.from_numpy(solve_with_cvxpy(problem, row, direction)) for row in rows.tolist()]
    expected = torch.zeros_like(q).index_copy_(0, rows, torch.stack(other).clamp(min=0))
    assert (q - expected)[rows].abs().max() < 1e-4
    objective = forward_objective if direction == "forward" else reverse_objective
    expected = expected / expected.sum(1, keepdim=True)
    assert (objective(problem, q) - objective(problem, expected))[rows].max() < 1e-8


@quiet
@pytest.mark.parametrize("decades", [1, 8, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_no_small_change_improves_the_reverse_objective(kind, decades):
    arguments = random_problem(kind, 200, 2, decades=decades)
    result = combine(*arguments, direction="reverse")
    solved, problem = result.kkt_residual < INF, dense(*arguments)
    assert result.converged[solved].all()
    q = result.log_probs.exp()
    for size in (1e-1, 1e-2):
        other = q * torch.exp(size * torch.randn_like(q))
        other = other / other.sum(1, keepdim=True)
        gain = reverse_objective(problem, q) - reverse_objective(problem, other)
        assert gain[solved].max() < 1e-11


@quiet
def test_the_reverse_direction_gives_up_exactly_where_no_class_has_mass_from_everyone():
    arguments = random_problem("covering", 200, 3)
    problem = dense(*arguments)
    inside = (problem.p > 0) | (problem.v == 0)[:, :, None]
    outside = (problem.d > 0) | (problem.v == 0)
    allowed = torch.where(problem.member > 0, inside, outside[:, :, None]).all(1)
    feasible = (allowed & (problem.g > 0)).any(1)
    result = combine(*arguments, direction="reverse")
    assert result.converged.tolist() == feasible.tolist()
    assert 0 < feasible.sum() < 200


def test_one_specialist_has_the_closed_form():
    v = 0.75
    g, p = logs([0.1, 0.2, 0.3, 0.4]), logs([0.5, 0.3, 0.2])
    result = combine(g, [p], [indices(2, 0)], weights=torch.tensor([v]).double())
    outside = (0.6 + v * 0.2) / (1 + v)
    expected = [(0.1 + v * 0.3) / (1 + v), outside / 3, (0.3 + v * 0.5) / (1 + v), outside * 2 / 3]
    assert result.log_probs.exp()[0].tolist() == pytest.approx(expected, abs=1e-15)
    assert result.n_iterations.tolist() == [0]


def test_one_specialist_has_the_reverse_closed_form():
    v = 0.75
    g, p = logs([0.1, 0.2, 0.3, 0.4]), logs([0.5, 0.3, 0.2])
    result = combine(
        g, [p], [indices(2, 0)], weights=torch.tensor([v]).double(), direction="reverse"
    )
    root = 1 / (1 + v)
    outside = (0.6 * 0.2**v) ** root
    raw = [(0.1 * 0.3**v) ** root, outside / 3, (0.3 * 0.5**v) ** root, outside * 2 / 3]
    expected = [x / sum(raw) for x in raw]
    assert result.log_probs.exp()[0].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_without_dustbins_the_combination_is_a_weighted_mean(direction):
    members = torch.log_softmax(torch.randn(5, 3, 4, dtype=torch.float64), 2)
    weights = torch.tensor([0.5, 2.0], dtype=torch.float64)
    empty = torch.full((5, 1), -INF, dtype=torch.float64)
    specialists = [torch.cat([members[:, m], empty], 1) for m in (1, 2)]
    subsets = [torch.arange(4), torch.arange(4)]
    result = combine(members[:, 0], specialists, subsets, weights=weights, direction=direction)
    w = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)[None, :, None] / 3.5
    mean = (w * members.exp()).sum(1).log() if direction == "forward" else (w * members).sum(1)
    torch.testing.assert_close(result.log_probs, mean.log_softmax(1), atol=1e-12, rtol=0)


def test_a_class_without_mass_gets_what_two_dustbins_agree_on():
    dustbin = logs([0.01, 0.99])
    result = combine(logs([0.5, 0.5, 0.0]), [dustbin, dustbin], [indices(0), indices(1)])
    assert result.log_probs.exp()[0].tolist() == pytest.approx([0.34, 0.34, 0.32], abs=1e-12)


def test_a_class_without_mass_stays_empty_where_nothing_is_left_for_it():
    result = combine(
        logs([0.5, 0.5, 0.0]), [logs([0.9, 0.1]), logs([0.9, 0.1])], [indices(0), indices(1)]
    )
    assert result.log_probs[0, 2] == -INF
    assert result.log_probs.exp()[0].tolist() == pytest.approx([0.5, 0.5, 0.0], abs=1e-12)


@pytest.mark.parametrize("second", [indices(1), indices(0, 1), indices(1, 2)])
def test_classes_without_mass_share_evenly_within_their_pattern(second):
    generalist = torch.zeros(1, 6, dtype=torch.float64).fill_(-INF)
    generalist[0, 0] = 0.0
    width = len(second)
    specialists = [logs([0.2, 0.8]), logs([0.1 / width] * width + [0.9])]
    q = combine(generalist, specialists, [indices(0), second]).log_probs.exp()[0]
    assert q[3:].tolist() == pytest.approx([q[3].item()] * 3, abs=1e-12)
    assert q[3] > 0.05


def test_tiny_mass_outside_the_subset_takes_the_dustbins_share():
    g = logs([1.0, 1e-17])
    result = combine(g, [logs([0.5, 0.5])], [indices(0)])
    assert result.log_probs.exp()[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-12)
    pair = combine(g, [logs([0.5, 0.5])] * 2, [indices(0), indices(0)])
    assert pair.log_probs.exp()[0].tolist() == pytest.approx([2 / 3, 1 / 3], abs=1e-12)


@pytest.mark.parametrize("tiny", [1e-18, 1e-40, 1e-200])
def test_a_subset_that_holds_nearly_everything_leaves_the_right_rest(tiny):
    generalist = logs([1.0, tiny, 2 * tiny])
    result = combine(generalist, [logs([1.0, 2 * tiny])], [indices(0)])
    expected = [math.log(2.5 * tiny / 3), math.log(2.5 * tiny * 2 / 3)]
    assert result.log_probs[0, 1:].tolist() == pytest.approx(expected, abs=1e-9)
    three = combine(
        generalist, [logs([1.0, 2 * tiny]), logs([tiny, 1.0])], [indices(0), indices(1)]
    )
    assert three.converged.all()
    assert three.log_probs.isfinite().all()


@pytest.mark.parametrize("tiny", [1e-9, 1e-19, 1e-30])
def test_two_subsets_that_cover_everything_may_both_be_sure_of_the_same_class(tiny):
    specialists = [logs([0.0, 1.0]), logs([1.0, tiny])]
    result = combine(logs([0.0, 1.0]), specialists, [indices(0), indices(1)])
    assert result.converged.all()
    assert result.log_probs.exp()[0].tolist() == pytest.approx([tiny / 3, 1 - tiny / 3], abs=1e-14)


def test_dustbins_that_leave_exactly_nothing_leave_nothing():
    specialists = [logs([0.0, 1.0]), logs([0.5, 0.5])]
    subsets = [indices(0), indices(2)]
    weights = torch.tensor([1.0, 3.0]).double()
    result = combine(logs([1.0, 0.0, 0.0]), specialists, subsets, weights=weights)
    assert result.log_probs.exp()[0].tolist() == pytest.approx([0.5, 0.0, 0.5], abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_dustbin_never_spoils_its_row(kind):
    generalist, specialists, subsets, active, weights = random_problem(kind, 40, 7)
    for log_p in specialists:
        log_p[:, -1] = -INF
        log_p[:, 0] = log_p[:, 0].clamp(min=-3)
    specialists = [log_p.log_softmax(1) for log_p in specialists]
    arguments = (generalist, specialists, subsets, active, weights)
    result = combine(*arguments)
    c = dense(*arguments)
    expected = c.g + (c.v[:, :, None] * c.p).sum(1)
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(result.log_probs.exp(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_row_without_active_specialists_keeps_the_generalist(direction):
    generalist, specialists, subsets, _, _ = random_problem("overlapping", 6, 3)
    active = torch.zeros(6, len(subsets), dtype=torch.bool)
    result = combine(generalist, specialists, subsets, active, direction=direction)
    assert torch.equal(result.log_probs, generalist)
    assert result.converged.all()


def test_no_specialists_at_all_keep_the_generalist():
    generalist = logs([0.3, 0.7])
    assert torch.equal(combine(generalist, [], []).log_probs, generalist)


def test_an_empty_batch_gives_an_empty_result():
    result = combine(torch.empty(0, 3), [torch.empty(0, 2)], [indices(1)])
    assert result.log_probs.shape == (0, 3)


def test_a_single_class_has_probability_one():
    result = combine(logs([1.0]), [logs([1.0, 0.0])], [indices(0)])
    assert result.log_probs.tolist() == [[0.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_a_billion_apart_give_finite_sensible_rows(kind):
    generalist, specialists, subsets, active, weights = random_problem(kind, 60, 9)
    generalist = (1e9 * torch.randn(generalist.shape).double()).log_softmax(1)
    specialists = [(1e9 * torch.randn(p.shape).double()).log_softmax(1) for p in specialists]
    result = combine(generalist, specialists, subsets, active, weights)
    assert result.converged.all()
    assert not result.log_probs.isnan().any()
    assert (result.log_probs.exp().sum(1) - 1).abs().max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_too_small_for_the_dtype_keep_their_logarithms(dtype):
    generalist = torch.tensor([[0.0, -1e4, -2e4, -1e5]], dtype=dtype)
    specialist = torch.tensor([[-0.1, math.log(1 - math.exp(-0.1))]], dtype=dtype)
    result = combine(generalist, [specialist], [indices(0)])
    dustbin = specialist[0, 1].item() - math.log(2)
    assert result.log_probs[0, 1:].tolist() == pytest.approx(
        [dustbin, dustbin - 1e4, dustbin - 9e4], abs=0.02
    )


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_a_loop_over_its_rows(kind, direction):
    generalist, specialists, subsets, active, weights = random_problem(kind, 24, 4)
    with_zeros = direction == "reverse"
    generalist = generalist.clamp(min=-20).log_softmax(1) if with_zeros else generalist
    specialists = [p.clamp(min=-20).log_softmax(1) if with_zeros else p for p in specialists]
    batch = combine(generalist, specialists, subsets, active, weights, direction)
    for i in range(24):
        row = slice(i, i + 1)
        one = combine(
            generalist[row], [p[row] for p in specialists], subsets, active[row], weights, direction
        )
        torch.testing.assert_close(batch.log_probs[row], one.log_probs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_inactive_specialists_equal_specialists_that_are_left_out(kind):
    generalist, specialists, subsets, _, _ = random_problem(kind, 30, 6)
    chosen = [m for m in range(len(subsets)) if m % 2 == 0]
    active = torch.zeros(30, len(subsets), dtype=torch.bool)
    active[:, chosen] = True
    for m in set(range(len(subsets))) - set(chosen):
        specialists[m] = torch.full_like(specialists[m], math.nan)
    some = combine(generalist, specialists, subsets, active)
    alone = combine(generalist, [specialists[m] for m in chosen], [subsets[m] for m in chosen])
    torch.testing.assert_close(some.log_probs, alone.log_probs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_specialists_and_of_classes_does_not_matter(kind):
    generalist, specialists, subsets, active, weights = random_problem(kind, 30, 8)
    expected = combine(generalist, specialists, subsets, active, weights).log_probs
    order = list(reversed(range(len(subsets))))
    permuted = torch.randperm(generalist.shape[1])
    places = permuted.argsort()
    result = combine(
        generalist[:, permuted],
        [specialists[m] for m in order],
        [places[subsets[m]] for m in order],
        active[:, order],
        weights[order],
    )
    torch.testing.assert_close(result.log_probs[:, places], expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_float64_to_its_precision(kind):
    generalist, specialists, subsets, active, weights = random_problem(kind, 100, 10)
    exact = combine(generalist, specialists, subsets, active, weights)
    coarse = combine(generalist.float(), [p.float() for p in specialists], subsets, active, weights)
    assert coarse.log_probs.dtype == torch.float32
    assert coarse.converged.all()
    error = (coarse.log_probs.double().exp() - exact.log_probs.exp()).abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    generalist = torch.log_softmax(torch.randn(20, 6), 1).to(dtype)
    specialist = torch.log_softmax(torch.randn(20, 3), 1).to(dtype)
    result = combine(generalist, [specialist], [indices(1, 4)])
    normalised = (generalist.double().log_softmax(1), [specialist.double().log_softmax(1)])
    expected = combine(*normalised, [indices(1, 4)])
    assert result.log_probs.dtype == torch.float32
    assert (result.log_probs.exp().sum(1) - 1).abs().max() < 1e-5
    assert (result.log_probs.exp() - expected.log_probs.exp()).abs().max() < 0.02


def test_a_subset_of_all_classes_keeps_the_generalist_and_spoils_no_other_row():
    generalist = logs([0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2])
    everything = logs([0.2, 0.2, 0.2, 0.4], [0.2, 0.2, 0.6, 0.0], [0.2, 0.2, 0.2, 0.4])
    active = torch.tensor([[True], [True], [False]])
    with pytest.warns(ConvergenceWarning, match="1 of 3 rows"):
        result = combine(generalist, [everything], [indices(0, 1, 2)], active)
    assert result.converged.tolist() == [False, True, True]
    assert torch.equal(result.log_probs[0], generalist[0])
    assert result.log_probs.exp()[1].tolist() == pytest.approx([0.35, 0.25, 0.4], abs=1e-12)
    with pytest.raises(ConvergenceError, match="no minimiser"):
        combine(generalist, [everything], [indices(0, 1, 2)], active, strict=True)


@pytest.mark.filterwarnings("error")
def test_every_specialist_moves_the_result():
    generalist, specialists, subsets, _, _ = random_problem("overlapping", 30, 11)
    before = combine(generalist, specialists, subsets).log_probs
    for m in range(len(specialists)):
        changed = list(specialists)
        changed[m] = (specialists[m] / 2).log_softmax(1)
        after = combine(generalist, changed, subsets).log_probs
        assert (after.exp() - before.exp()).abs().max() > 1e-3


def test_weights_act_as_repeated_specialists():
    generalist, specialists, subsets, active, _ = random_problem("overlapping", 30, 12)
    doubled = combine(generalist, specialists, subsets, active, torch.full((len(subsets),), 2.0))
    twice = combine(generalist, specialists * 2, subsets * 2, torch.cat([active, active], 1))
    torch.testing.assert_close(doubled.log_probs.exp(), twice.log_probs.exp(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind, direction):
    generalist, specialists, subsets, active, weights = random_problem(kind, 4, 13, n_classes=6)
    generalist = generalist.clamp(min=-5).log_softmax(1).requires_grad_()
    specialists = [p.clamp(min=-5).log_softmax(1).requires_grad_() for p in specialists]

    def log_probs(weights, generalist, *specialists):
        return combine(generalist, specialists, subsets, active, weights, direction).log_probs

    assert torch.autograd.gradcheck(
        log_probs, (weights.requires_grad_(), generalist, *specialists), fast_mode=True
    )


@pytest.mark.filterwarnings("ignore::specialists.errors.ConvergenceWarning")  # rows without any
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_where_probabilities_are_zero(kind, direction):
    generalist, specialists, subsets, active, weights = random_problem(kind, 50, 14)
    inputs = [generalist.requires_grad_(), weights.requires_grad_()]
    inputs += [p.requires_grad_() for p in specialists]
    log_probs = combine(generalist, specialists, subsets, active, weights, direction).log_probs
    log_probs.clamp(min=-30).sum().backward()
    for x in inputs:
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_result_may_lie_in_memory_of_the_caller(direction):
    arguments = random_problem("mixed", 40, 18, decades=1)
    out = torch.full_like(arguments[0], torch.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rows without a reverse minimiser
        expected = combine(*arguments, direction=direction).log_probs
        result = combine(*arguments, direction=direction, out=out)
    assert result.log_probs is out
    assert torch.equal(out, expected)


@pytest.mark.parametrize(
    "out", [torch.empty(3, 2), torch.empty(2, 2).double(), torch.empty(2, 4)[:, ::2]]
)
def test_memory_that_does_not_fit_is_refused(out):
    generalist = logs([0.5, 0.5], [0.1, 0.9]).float()
    specialist = logs([0.5, 0.5], [0.5, 0.5]).float()
    with pytest.raises(InputError, match="out cannot take the result"):
        combine(generalist, [specialist], [indices(0)], out=out)


def test_a_large_result_is_that_of_its_parts():
    torch.manual_seed(0)
    generalist = torch.randn(3000, 2000).log_softmax(1)
    specialist = torch.randn(3000, 31).log_softmax(1)
    subset = torch.randperm(2000)[:30]
    whole = combine(generalist, [specialist], [subset]).log_probs
    part = combine(generalist[1000:1100], [specialist[1000:1100]], [subset]).log_probs
    torch.testing.assert_close(whole[1000:1100], part)


@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_single_precision_gradients_are_those_of_double(scale):
    torch.manual_seed(0)
    values = [scale * torch.randn(60, width, dtype=torch.float64) for width in (50, 21, 16, 31)]
    subsets = [torch.randperm(50)[: len(row) - 1] for row in (x[0] for x in values[1:])]
    towards = torch.randn(60, 50, dtype=torch.float64)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        logits = [x.to(dtype, copy=True).requires_grad_() for x in values]
        generalist, *specialists = (x.log_softmax(1) for x in logits)
        log_q = combine(generalist, specialists, subsets).log_probs
        (log_q.clamp(min=-60) * towards.to(dtype)).sum().backward()
        gradients.append([x.grad for x in logits])
    for exact, found in zip(*gradients, strict=True):
        assert exact is not None
        assert found is not None
        torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-3)


def test_a_confident_generalist_has_the_gradient_of_the_closed_form():
    tiny = 1e-8
    generalist = logs([1 - 3 * tiny, 2 * tiny, tiny]).float().requires_grad_()
    specialist = logs([0.5, 0.5]).float().requires_grad_()
    log_q = combine(generalist, [specialist], [indices(0)]).log_probs
    log_q[0, 1].backward()
    other = generalist.detach().double().requires_grad_()
    outside = other[0, 1:].logsumexp(0)
    total = torch.logaddexp(outside, specialist.detach().double()[0, 1])
    (other[0, 1] - outside + total - math.log(2)).backward()
    assert generalist.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(
        generalist.grad.double()[0, 1:], other.grad[0, 1:], atol=1e-5, rtol=0
    )


def test_denormal_masses_lose_nothing():
    generalist = torch.tensor([[0.0, -740.0]], dtype=torch.float64)
    result = combine(generalist, [logs([0.5, 0.5])], [indices(0)])
    torch.testing.assert_close(result.log_probs.exp(), logs([0.75, 0.25]).exp())


def test_gradients_pass_where_nobody_votes():
    for direction in ("forward", "reverse"):
        generalist = logs([0.5, 0.5], [0.1, 0.9]).requires_grad_()
        nobody = torch.zeros(2, 1, dtype=torch.bool)
        specialist = logs([0.5, 0.5], [0.5, 0.5]).requires_grad_()
        for result in (
            combine(generalist, [specialist], [indices(0)], nobody, direction=direction),
            combine(generalist, [], [], direction=direction),
        ):
            generalist.grad = None
            result.log_probs[0, 0].backward()
            torch.testing.assert_close(generalist.grad, torch.tensor([[1.0, 0], [0, 0]]).double())


def test_memory_of_an_input_is_no_place_for_the_result():
    generalist, specialist = logs([0.5, 0.5]), logs([0.5, 0.5])
    with pytest.raises(InputError, match="shares memory"):
        combine(generalist, [specialist], [indices(0)], out=generalist)


def test_weights_in_a_list_keep_their_digits():
    generalist, specialist = logs([0.2, 0.3, 0.5]), logs([0.7, 0.2, 0.1])
    arguments = (generalist, [specialist], [indices(0, 1)])
    listed = combine(*arguments, weights=[0.1]).log_probs  # pyright: ignore[reportArgumentType]
    given = combine(*arguments, weights=torch.tensor([0.1], dtype=torch.float64)).log_probs
    assert torch.equal(listed, given)


@pytest.mark.parametrize("n_specialists", [24, 70])
def test_many_specialists_active_at_once_agree_with_expectation_maximisation(n_specialists):
    torch.manual_seed(0)
    subsets = [torch.randperm(30)[: 3 + m % 12] for m in range(n_specialists)]
    generalist = torch.randn(20, 30, dtype=torch.float64).log_softmax(1)
    specialists = [torch.randn(20, len(x) + 1, dtype=torch.float64).log_softmax(1) for x in subsets]
    result = combine(generalist, specialists, subsets, torch.rand(20, n_specialists) < 0.9)
    assert result.converged.all()
    arguments = (generalist, specialists, subsets)
    everyone = combine(*arguments)
    oracle, converged = expectation_maximisation(dense(*arguments))
    assert converged.sum() > 15
    assert (everyone.log_probs.exp() - oracle)[converged].abs().max() < 1e-9


def test_many_overlapping_specialists_need_few_steps():
    torch.manual_seed(0)
    subsets = [torch.randperm(120)[:40] for _ in range(9)]
    generalist = torch.log_softmax(4 * torch.randn(200, 120), 1)
    specialists = [torch.log_softmax(4 * torch.randn(200, 41), 1) for _ in subsets]
    result = combine(generalist, specialists, subsets, torch.rand(200, 9) < 0.7)
    assert result.converged.all()
    assert result.n_iterations.max() <= 12


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_round_numbers_and_degenerate_rows_satisfy_the_conditions(data):
    n_classes = data.draw(st.integers(1, 5))
    grid = st.sampled_from([0.0, 0.0, 1e-30, 1e-9, 0.25, 0.5, 1.0])

    def row(width):
        values = data.draw(st.lists(grid, min_size=width, max_size=width).filter(any))
        return logs([value / sum(values) for value in values])

    subsets = data.draw(
        st.lists(
            st.lists(st.integers(0, n_classes - 1), min_size=1, unique=True), min_size=1, max_size=4
        )
    )
    specialists = [row(len(subset) + 1) for subset in subsets]
    full = [
        len(s) == n_classes and p[0, -1] > -INF for s, p in zip(subsets, specialists, strict=True)
    ]
    active = ~torch.tensor([full])
    tensors = [torch.tensor(subset) for subset in subsets]
    arguments = (row(n_classes), specialists, tensors, active)
    result = combine(*arguments)
    assert result.kkt_residual.max() < 1e-10
    assert (result.log_probs.exp().sum(1) - 1).abs().max() < 1e-9
    problem = dense(*arguments)
    oracle, _ = expectation_maximisation(problem, n_steps=200)
    q = result.log_probs.exp()
    assert (forward_objective(problem, q) - forward_objective(problem, oracle)).max() < 1e-11


BAD = {
    "not a matrix": {"generalist": torch.zeros(3)},
    "not a matrix of log-probabilities": {"generalist": torch.zeros(2, 3, dtype=torch.int64)},
    "differ in number": {"subsets": []},
    "wrong shape": {"specialists": [torch.zeros(2, 2)]},
    "does not exist": {"subsets": [indices(0, 3)]},
    "more than once": {"subsets": [indices(1, 1)]},
    "is empty": {"subsets": [indices()]},
    "which specialists to use": {"active": torch.ones(2, 2, dtype=torch.bool)},
    "torch.float32": {"active": torch.ones(2, 1)},
    "weights are not": {"weights": torch.tensor([0.0])},
    "all > 0": {"weights": torch.ones(2)},
    "do not sum to 1": {"generalist": torch.full((2, 3), 1 / 3)},
    "specialists\\[0\\], row 1": {
        "specialists": [torch.tensor([[0.2, 0.3, 0.5], [0.2, 0.3, 0.6]]).log()]
    },
    "NaN": {"generalist": torch.tensor([[math.nan, 0.0, 0.0], [0.0, -INF, -INF]])},
    "unknown direction": {"direction": "backward"},
}


@pytest.mark.parametrize("message", BAD)
def test_wrong_input_is_named(message):
    good = {
        "generalist": torch.full((2, 3), 1 / 3).log(),
        "specialists": [torch.full((2, 3), 1 / 3).log()],
        "subsets": [indices(0, 2)],
    }
    with pytest.raises(InputError, match=message):
        combine(**(good | BAD[message]))
