"""The paper's own method moves towards the exact minimiser, and says how far it came."""

import math

import pytest
import torch
from reference import (
    dense,
    forward_objective,
    kkt_violation,
    random_problem,
)

from pipelines.benchmarks.gradient_descent import gradient_descent
from specialists.combination import combine
from specialists.errors import InputError

INF = math.inf
KINDS = ["one", "disjoint", "covering", "nested", "overlapping", "mixed"]
quiet = pytest.mark.filterwarnings("ignore::specialists.errors.ConvergenceWarning")


def logs(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def positive_problem(kind, n, seed):
    """Arguments of ``combine`` in which every class and dustbin has mass."""
    generalist, specialists, subsets, active, weights = random_problem(kind, n, seed)
    draw = torch.Generator().manual_seed(seed)

    def fresh(like):
        return torch.randn(like.shape, dtype=torch.float64, generator=draw).log_softmax(1)

    return fresh(generalist), [fresh(x) for x in specialists], subsets, active, weights


@quiet
@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_close_to_the_exact_minimum_and_never_below(kind):
    arguments = random_problem(kind, 60, 3, decades=1)
    exact = combine(*arguments)
    result = gradient_descent(*arguments, max_steps=400)
    rows, problem = exact.kkt_residual < INF, dense(*arguments)
    gap = forward_objective(problem, result.log_probs.exp()) - forward_objective(
        problem, exact.log_probs.exp()
    )
    assert gap[rows].min() > -1e-12
    assert gap[rows].median() < 1e-7
    assert gap[rows].max() < 1e-3
    assert (result.log_probs.exp().sum(1) - 1).abs().max() < 1e-12


def logit_gradient(problem, z):
    """Of the objective of q = softmax(z), by automatic differentiation."""
    z = z.clone().requires_grad_()
    return torch.autograd.grad(forward_objective(problem, z.softmax(1)).sum(), z)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_its_steps_are_those_of_adam_on_the_objectives_gradient(kind):
    arguments = positive_problem(kind, 40, 1)
    problem, z = dense(*arguments), arguments[0].clone()
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(5):
        z.grad = logit_gradient(problem, z)
        optimiser.step()
    result = gradient_descent(*arguments, learning_rate=0.05, max_steps=5)
    voting = arguments[3].any(1)
    assert (result.log_probs - z.log_softmax(1))[voting].abs().max() < 1e-6
    assert (result.log_probs - arguments[0])[voting].abs().amax(1).min() > 0.05


@pytest.mark.parametrize("max_steps", [0, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_the_residual_is_that_of_the_conditions(kind, max_steps):
    arguments = positive_problem(kind, 40, 2)
    result = gradient_descent(*arguments, max_steps=max_steps)
    problem, log_q = dense(*arguments), result.log_probs
    expected = kkt_violation(problem, log_q.exp())
    torch.testing.assert_close(result.kkt_residual, expected, atol=1e-13, rtol=1e-9)
    assert (result.n_iterations[arguments[3].any(1)] == max_steps).all()


@pytest.mark.parametrize("kind", KINDS)
def test_residuals_of_zero_classes_and_empty_dustbins_are_right_too(kind):
    arguments = random_problem(kind, 200, 4)
    result = gradient_descent(*arguments, max_steps=40)
    expected = kkt_violation(dense(*arguments), result.log_probs.exp())
    moved = arguments[3].any(1)
    torch.testing.assert_close(result.kkt_residual[moved], expected[moved], atol=1e-13, rtol=1e-9)
    assert (result.converged == (result.kkt_residual <= 1e-10)).all()


@quiet
@pytest.mark.parametrize("kind", KINDS)
def test_masses_spread_over_sixty_decades_do_no_harm(kind):
    arguments = random_problem(kind, 100, 5, decades=60)
    result = gradient_descent(*arguments)
    solved, problem = result.kkt_residual < INF, dense(*arguments)
    assert solved.tolist() == (combine(*arguments).kkt_residual < INF).tolist()
    assert not result.log_probs.isnan().any()
    assert (result.log_probs.exp().sum(1) - 1).abs().max() < 1e-12
    exact = combine(*arguments).log_probs.exp()
    gap = forward_objective(problem, result.log_probs.exp()) - forward_objective(problem, exact)
    assert gap[solved].min() > -1e-12
    assert gap[solved].mean() < 0.05


def test_it_stops_where_every_row_is_solved():
    generalist = logs([0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    agreeing = logs([0.3, 0.1, 0.6], [0.2, 0.4, 0.4])
    solved = gradient_descent(generalist, [agreeing], [torch.tensor([2, 0])], max_steps=50)
    assert solved.n_iterations.tolist() == [0, 0]
    assert solved.converged.tolist() == [True, True]
    disagreeing = logs([0.3, 0.1, 0.6], [0.5, 0.1, 0.4])
    looser = gradient_descent(generalist, [disagreeing], [torch.tensor([2, 0])], tolerance=1e-3)
    assert 0 < looser.n_iterations[0] < 200
    assert looser.n_iterations[0] % 10 == 0
    assert looser.converged.tolist() == [True, True]


def test_rows_that_did_not_converge_say_so_without_a_warning():
    result = gradient_descent(
        logs([0.9, 0.1]), [logs([0.1, 0.9])], [torch.tensor([0])], max_steps=7
    )
    assert result.converged.tolist() == [False]
    assert result.n_iterations.tolist() == [7]
    assert result.kkt_residual[0] > 1e-3


def test_a_class_without_mass_gets_what_two_dustbins_agree_on():
    dustbin = logs([0.01, 0.99])
    subsets = [torch.tensor([0]), torch.tensor([1])]
    result = gradient_descent(logs([0.5, 0.5, 0.0]), [dustbin, dustbin], subsets, max_steps=400)
    assert result.log_probs.exp()[0].tolist() == pytest.approx([0.34, 0.34, 0.32], abs=1e-3)


@quiet
def test_rows_without_a_minimiser_keep_the_generalist_and_spoil_no_other():
    generalist = logs([0.6, 0.4], [0.3, 0.7])
    specialists = [logs([0.5, 0.4, 0.1], [0.5, 0.5, 0.0])]
    result = gradient_descent(generalist, specialists, [torch.tensor([0, 1])], max_steps=400)
    assert result.kkt_residual[0] == INF
    assert result.converged[0].item() is False
    assert result.log_probs[0].tolist() == generalist[0].tolist()
    assert result.log_probs[1].exp().tolist() == pytest.approx([0.4, 0.6], abs=1e-5)


def test_an_inactive_specialist_for_all_classes_forbids_nothing():
    generalist = logs([0.6, 0.4])
    specialists = [logs([0.5, 0.4, 0.1]), logs([0.2, 0.8])]
    result = gradient_descent(
        generalist,
        specialists,
        [torch.tensor([0, 1]), torch.tensor([0])],
        torch.tensor([[False, True]]),
    )
    assert result.log_probs[0].exp().tolist() == pytest.approx([0.4, 0.6], abs=1e-4)


def test_a_row_without_active_specialists_keeps_the_generalist():
    generalist = logs([0.2, 0.8], [0.0, 1.0])
    unread = torch.full((2, 2), math.nan).double()
    silent = torch.zeros(2, 1, dtype=torch.bool)
    result = gradient_descent(generalist, [unread], [torch.tensor([0])], silent)
    assert result.log_probs.tolist() == generalist.tolist()
    assert result.converged.all()
    alone = gradient_descent(generalist, [], [])
    assert alone.log_probs.tolist() == generalist.tolist()
    empty = gradient_descent(generalist[:0], [unread[:0]], [torch.tensor([0])])
    assert empty.log_probs.shape == (0, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_rows_alone(kind):
    generalist, specialists, subsets, active, weights = positive_problem(kind, 12, 6)
    options = {"max_steps": 40}
    whole = gradient_descent(generalist, specialists, subsets, active, weights, **options)
    for i in range(12):
        row = gradient_descent(
            generalist[i : i + 1],
            [log_p[i : i + 1] for log_p in specialists],
            subsets,
            active[i : i + 1],
            weights,
            **options,
        )
        torch.testing.assert_close(row.log_probs[0], whole.log_probs[i], atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_comes_as_far_as_float64(kind):
    arguments = positive_problem(kind, 60, 7)
    generalist, specialists, subsets, active, weights = arguments
    fine = gradient_descent(*arguments, max_steps=40)
    single = gradient_descent(
        generalist.float(),
        [log_p.float() for log_p in specialists],
        *(subsets, active, weights),
        max_steps=40,
    )
    assert single.log_probs.dtype == torch.float32
    assert single.kkt_residual.dtype == torch.float64
    problem = dense(*arguments)
    reached = [forward_objective(problem, x.log_probs.double().exp()) for x in (single, fine)]
    assert (reached[0] - reached[1]).abs().max() < 1e-5


def test_half_precision_is_computed_in_float32():
    generalist = logs([0.5, 0.5], [0.1, 0.9]).bfloat16()
    result = gradient_descent(
        generalist, [logs([0.9, 0.1], [0.5, 0.5]).bfloat16()], [torch.tensor([0])]
    )
    assert result.log_probs.dtype == torch.float32
    assert result.log_probs.exp()[:, 0].tolist() == pytest.approx([0.7, 0.3], abs=0.01)


def test_tiny_complements_do_no_harm_in_float32():
    generalist = torch.tensor([[0.0, -200.0, -300.0]]).log_softmax(1)
    specialist = torch.tensor([[0.5, 0.5]]).log()
    result = gradient_descent(generalist, [specialist], [torch.tensor([0])], max_steps=400)
    assert result.log_probs[0, 0].exp().item() == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_it_works_in_every_gradient_mode_and_returns_no_gradient(mode):
    generalist = logs([0.4, 0.4, 0.2]).requires_grad_()
    weights = torch.ones(1, requires_grad=True)
    with mode():
        result = gradient_descent(
            generalist, [logs([0.7, 0.1, 0.2])], [torch.tensor([0, 1])], weights=weights
        )
    assert not result.log_probs.requires_grad
    assert result.log_probs.exp()[0].tolist() == pytest.approx([0.55, 0.25, 0.2], abs=1e-4)
    assert generalist.grad is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "such steps"),
        ({"max_steps": -1}, "such steps"),
        ({"weights": torch.tensor([-1.0])}, "weights"),
        ({"generalist": torch.zeros(1, 3)}, "do not sum to 1"),
        ({"generalist": torch.full((1, 3), math.nan)}, "NaN"),
        ({"subsets": [torch.tensor([0, 5])]}, "does not exist"),
    ],
)
def test_wrong_input_is_named(changes, message):
    given = {
        "generalist": torch.tensor([[0.4, 0.4, 0.2]]).log(),
        "specialists": [torch.tensor([[0.7, 0.1, 0.2]]).log()],
        "subsets": [torch.tensor([0, 1])],
    }
    with pytest.raises(InputError, match=message):
        gradient_descent(**{**given, **changes})
