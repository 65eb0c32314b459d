import logging
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from reference import dense, forward_objective, kkt_violation, random_problem

from specialists.combination import Subsets, combine, minimiser
from specialists.combination.kernels import few_rows, fused
from specialists.errors import ConvergenceWarning, InputError

KINDS = ("one", "disjoint", "covering", "nested", "overlapping", "mixed")
DTYPES = (torch.float64, torch.float32)
PATHS = ("few", "compiled")


@pytest.fixture
def by_path(monkeypatch):
    """``combine`` by NumPy, by compiled code or by torch; the rows that it hands to torch."""

    def solve(path, *arguments, **keywords):
        handed_over = []

        def watched(solver):
            def solve_and_note(*inputs):
                rows = solver(*inputs)
                handed_over.extend(rows.tolist())
                return rows

            return solve_and_note

        if path == "compiled":
            pytest.importorskip("numba", reason="compiled code needs the extra `fast`")
        with monkeypatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            patch.setattr(few_rows, "MOST_FEW", 10**9 if path == "few" else -1)
            patch.setattr(fused, "MOST_FEW", -1)
            patch.setattr(fused, "LEAST_ELEMENTS", 0 if path == "compiled" else 10**18)
            patch.setattr(minimiser, "solve_few", watched(few_rows.solve_few))
            patch.setattr(minimiser, "solve_fused", watched(fused.solve_fused))
            return combine(*arguments, **keywords), handed_over

    return solve


def cast(arguments, dtype):
    """The arguments in another precision."""
    generalist, specialists, *others = arguments
    return (generalist.to(dtype), [x.to(dtype) for x in specialists], *others)


def assert_same(one, other, atol):
    torch.testing.assert_close(one.log_probs.exp(), other.log_probs.exp(), atol=atol, rtol=0)
    both = torch.maximum(one.log_probs, other.log_probs) > -60
    gap = (one.log_probs - other.log_probs).masked_fill(~both, 0.0).abs()
    assert float(gap.max()) < 300 * atol
    assert torch.equal(one.converged, other.converged)
    assert torch.equal(one.log_probs == -torch.inf, other.log_probs == -torch.inf)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_fast_paths_give_what_the_torch_solvers_give(by_path, path, kind, dtype):
    arguments = cast(random_problem(kind, 60, seed=3), dtype)
    fast, handed_over = by_path(path, *arguments)
    slow, _ = by_path("torch", *arguments)
    assert_same(fast, slow, 1e-11 if dtype == torch.float64 else 2e-6)
    assert len(handed_over) < 40


@pytest.mark.parametrize("decades", [1, 10, 60])
@pytest.mark.parametrize("kind", ["disjoint", "covering", "nested", "overlapping", "mixed"])
@pytest.mark.parametrize("path", PATHS)
def test_fast_paths_meet_the_optimality_conditions_class_by_class(by_path, path, kind, decades):
    arguments = random_problem(kind, 200, seed=decades, decades=decades)
    fast, _ = by_path(path, *arguments)
    problem = dense(*arguments)
    solvable = fast.converged & (problem.v.sum(1) > 0)
    violation = kkt_violation(problem, fast.log_probs.exp())[solvable]
    assert float(violation.max()) < 1e-10
    assert float(fast.kkt_residual[solvable].max()) <= 1e-10


@pytest.mark.parametrize("path", PATHS)
def test_no_distribution_nearby_is_better(by_path, path):
    arguments = random_problem("mixed", 40, seed=8, decades=1)
    fast, _ = by_path(path, *arguments)
    problem, q = dense(*arguments), fast.log_probs.exp()
    least = forward_objective(problem, q)
    for seed in range(20):
        noise = torch.rand(q.shape, generator=torch.Generator().manual_seed(seed)).double()
        other = (1 - 1e-3) * q + 1e-3 * noise / noise.sum(1, keepdim=True)
        assert bool((forward_objective(problem, other) >= least - 1e-12).all())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_weights_may_be_small_and_large(by_path, path, scale):
    for kind in ("disjoint", "overlapping"):
        arguments = random_problem(kind, 50, seed=5)[:4]
        weights = scale ** torch.linspace(0, 1, len(arguments[1]))
        fast, _ = by_path(path, *arguments, weights=weights)
        slow, _ = by_path("torch", *arguments, weights=weights)
        assert_same(fast, slow, 1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", PATHS)
def test_tiny_dustbins_zeros_and_full_subsets_are_solved_or_handed_over(by_path, path, dtype):
    full, part = torch.arange(4), torch.tensor([2, 0])
    generalist = torch.tensor([[0.7, 0.1, 0.2, 0.0], [0.0, 0.0, 0.5, 0.5], [1.0, 0, 0, 0]]).log()
    small = torch.tensor([-690.0 if dtype == torch.float64 else -85.0, -torch.inf, -3e-9])
    inside = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.0, 3e-9]]).log()
    specialist = torch.cat([inside, small[:, None]], 1)
    everything = torch.tensor([[0.25] * 4 + [0.0], [0.2] * 5, [0.1, 0.2, 0.3, 0.4, 0.0]]).log()
    for sets, given in (([part], [specialist]), ([part, full], [specialist, everything])):
        arguments = cast((generalist, given, sets), dtype)
        fast, _ = by_path(path, *arguments)
        slow, _ = by_path("torch", *arguments)
        assert_same(fast, slow, 1e-11 if dtype == torch.float64 else 2e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("path", PATHS)
def test_classes_close_to_the_smallest_number_keep_their_odds(by_path, path, dtype):
    least = -87.0 if dtype == torch.float32 else -707.0
    tail = torch.tensor([[least, least - 1, least - 15, -torch.inf]], dtype=dtype)
    generalist = torch.cat([torch.tensor([[0.5, 0.5]], dtype=dtype).log(), tail], 1)
    first = torch.tensor([[0.1, least, least - 2, -torch.inf, -0.1054]], dtype=dtype)
    first[0, 0], first[0, -1] = np.log(0.1), np.log(0.9)
    sets = [torch.tensor([0, 2, 3, 4])]
    for others in ([], [torch.tensor([0, 3, 5])]):
        second = torch.tensor([[0.3, 0.0, 0.0, 0.7]], dtype=dtype).log()
        arguments = (generalist, [first, second][: 1 + len(others)], sets + others)
        fast, handed_over = by_path(path, *arguments)
        slow, _ = by_path("torch", *arguments)
        torch.testing.assert_close(fast.log_probs, slow.log_probs, atol=1e-5, rtol=0)
        assert path == "few" or others or not handed_over


@pytest.mark.parametrize("path", PATHS)
def test_one_class_and_no_rows_are_combined(by_path, path):
    one = torch.zeros(3, 1)
    fast, _ = by_path(path, one, [torch.tensor([[0.0, -torch.inf]] * 3)], [torch.tensor([0])])
    assert fast.log_probs.tolist() == [[0.0]] * 3
    none, _ = by_path(path, torch.zeros(0, 3), [torch.zeros(0, 2)], [torch.tensor([1])])
    assert none.log_probs.shape == (0, 3)


@pytest.mark.parametrize("path", PATHS)
def test_inputs_need_not_be_contiguous_nor_in_one_precision(by_path, path):
    for kind in ("disjoint", "overlapping"):
        generalist, specialists, subsets, active, weights = random_problem(kind, 30, seed=2)
        given = [log_p.T.contiguous().T.float() for log_p in specialists]
        given[0] = specialists[0].repeat(2, 1)[::2][:15].repeat(1, 1)
        given = [torch.cat([x, x], 1)[:, : x.shape[1]][:15] for x in given]
        wide = torch.cat([generalist, generalist], 1)[::2, : generalist.shape[1]]
        flags = torch.cat([active, active], 1)[:15, : active.shape[1]]
        fast, _ = by_path(path, wide, given, subsets, flags, weights)
        plain = (wide.contiguous(), [x.double().contiguous() for x in given])
        slow, _ = by_path("torch", *plain, subsets, flags.contiguous(), weights)
        assert_same(fast, slow, 1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("path", PATHS)
def test_half_precision_has_its_own_tolerance(by_path, path, dtype):
    arguments = cast(random_problem("disjoint", 40, seed=4, decades=1), dtype)
    fast, _ = by_path(path, *arguments)
    slow, _ = by_path("torch", *arguments)
    assert_same(fast, slow, 2e-6)


@pytest.mark.parametrize("kind", ["disjoint", "overlapping"])
@pytest.mark.parametrize("value", [np.nan, 0.7, np.inf])
@pytest.mark.parametrize("matrix", ["generalist", "specialist"])
@pytest.mark.parametrize("path", PATHS)
def test_wrong_probabilities_raise_what_torch_raises(by_path, path, matrix, value, kind):
    generalist, specialists, subsets, _, _ = random_problem(kind, 12, seed=6)
    (generalist if matrix == "generalist" else specialists[1])[7, 0] = value
    said = []
    for each in (path, "torch"):
        with pytest.raises(InputError) as caught:
            by_path(each, generalist, specialists, subsets)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "row 7" in said[0]


@pytest.mark.parametrize("path", PATHS)
def test_rows_of_inactive_specialists_are_not_read(by_path, path):
    for kind in ("disjoint", "overlapping"):
        generalist, specialists, subsets, active, _ = random_problem(kind, 30, seed=7)
        plain, _ = by_path(path, generalist, specialists, subsets, active)
        spoilt = [x.masked_fill(~active[:, m, None], torch.nan) for m, x in enumerate(specialists)]
        again, _ = by_path(path, generalist, spoilt, subsets, active)
        assert torch.equal(plain.log_probs, again.log_probs)


@pytest.mark.parametrize("path", PATHS)
def test_a_row_without_active_specialists_keeps_the_generalist(by_path, path):
    generalist, specialists, subsets, active, _ = random_problem("disjoint", 9, seed=1)
    active[4] = False
    fast, _ = by_path(path, generalist, specialists, subsets, active)
    assert torch.equal(fast.log_probs[4], generalist[4])
    assert fast.kkt_residual[4] == 0


@pytest.mark.parametrize("kind", ["disjoint", "mixed"])
def test_compiled_code_gives_the_same_bits_for_every_number_of_threads(by_path, monkeypatch, kind):
    arguments = cast(random_problem(kind, 50, seed=9), torch.float32)
    expected, _ = by_path("compiled", *arguments)
    monkeypatch.setattr(fused, "_ELEMENTS_A_THREAD", 1)
    for n_threads in (2, 3, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=n_threads: n)
        answer, _ = by_path("compiled", *arguments)
        assert torch.equal(answer.log_probs, expected.log_probs)
        assert torch.equal(answer.kkt_residual, expected.kkt_residual)


def test_more_subsets_than_the_kernel_has_room_for_are_handed_over(by_path):
    random = torch.Generator().manual_seed(0)
    logits = [torch.randn(5, 61, generator=random, dtype=torch.float64) for _ in range(21)]
    generalist, *specialists = (x.log_softmax(1) for x in logits)
    subsets = [torch.randperm(61, generator=random)[:60] for _ in specialists]
    fast, handed_over = by_path("compiled", generalist, specialists, subsets)
    assert handed_over == [0, 1, 2, 3, 4]
    active = torch.arange(20) < torch.tensor([1, 2, 3, 8, 14])[:, None]
    fast, handed_over = by_path("compiled", generalist, specialists, subsets, active)
    assert handed_over == []
    assert bool(fast.converged.all())


def test_many_patterns_leave_no_trace_in_the_rows_after(by_path):
    random = torch.Generator().manual_seed(1)
    logits = [torch.randn(4, n, generator=random, dtype=torch.float64) for n in (600, *[301] * 10)]
    generalist, *specialists = (x.log_softmax(1) for x in logits)
    subsets = [torch.randperm(600, generator=random)[:300] for _ in specialists]
    active = torch.arange(10) < torch.tensor([3, 10, 3, 4])[:, None]
    fast, handed_over = by_path("compiled", generalist, specialists, subsets, active)
    slow, _ = by_path("torch", generalist, specialists, subsets, active)
    assert handed_over == [1]
    assert_same(fast, slow, 1e-11)


@pytest.mark.parametrize("path", PATHS)
def test_gradients_are_those_of_the_torch_path(by_path, path):
    for kind in ("disjoint", "overlapping"):
        gradients = []
        for each in (path, "torch"):
            generalist, specialists, *others = random_problem(kind, 20, seed=11, decades=1)
            inputs = [x.clone().requires_grad_() for x in (generalist, *specialists)]
            result, _ = by_path(each, inputs[0], inputs[1:], *others)
            result.log_probs.masked_fill(
                result.log_probs == -torch.inf, 0
            ).square().sum().backward()
            gradients.append([x.grad for x in inputs])
        torch.testing.assert_close(*gradients, atol=1e-8, rtol=1e-6)


def test_without_numba_torch_combines_large_batches(by_path, monkeypatch):
    arguments = random_problem("mixed", 40, seed=13)
    slow, _ = by_path("torch", *arguments)
    for name in [name for name in sys.modules if name.endswith("kernels.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("numba", "specialists.combination.kernels.compiled"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(fused, "_kernels", fused._kernels.__wrapped__)
    monkeypatch.setattr(fused, "LEAST_ELEMENTS", 0)
    monkeypatch.setattr(fused, "MOST_FEW", -1)
    monkeypatch.setattr(few_rows, "MOST_FEW", -1)
    monkeypatch.setattr(fused, "solve_fused", None)
    assert fused._kernels() == ()
    result = combine(*arguments)
    assert torch.equal(result.log_probs, slow.log_probs)


def test_small_calls_do_not_load_numba(monkeypatch):
    monkeypatch.setattr(fused, "_kernels", None)
    for n_rows in (1, few_rows.MOST_FEW, 12):
        combine(*random_problem("mixed", n_rows, seed=14))
    wide = torch.full((1, 2 * fused.LEAST_ELEMENTS), 0.0).log_softmax(1)
    combine(wide, [torch.tensor([[0.5, 0.5]]).log()], [torch.tensor([3])])


def test_a_long_compilation_is_told_once_a_process(monkeypatch, capsys):
    monkeypatch.setattr(fused, "_PATIENCE", 0.01)
    monkeypatch.setattr(fused, "_TOLD", [])
    library = logging.getLogger("specialists")
    monkeypatch.setattr(library, "isEnabledFor", lambda level: level > logging.INFO)
    with fused._patience("where nobody listens"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(library, "isEnabledFor", lambda level: level >= logging.INFO)
    before = set(threading.enumerate())
    with fused._patience("a kernel of a test"):
        time.sleep(0.1)
    assert "Numba compiles" in capsys.readouterr().err
    for kernel in ("a kernel of a test", "another kernel"):
        with fused._patience(kernel):
            time.sleep(0.05)
    assert capsys.readouterr().err == ""
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_exp_and_log_are_right_to_two_units(dtype):
    numba = pytest.importorskip("numba", reason="compiled code needs the extra `fast`")
    from specialists.combination.kernels.elementary import exp_of, log_of

    @numba.njit
    def of_each(x, exps, logs):
        for i in range(len(x)):
            exps[i], logs[i] = exp_of(x[i]), log_of(-x[i])

    lowest = 87 if dtype == np.float32 else 707
    x = -np.geomspace(1e-7, lowest, 20_001).astype(dtype)
    exps, logs = np.empty_like(x), np.empty_like(x)
    of_each(x, exps, logs)
    for got, exact in ((exps, np.exp(x.astype(np.longdouble))), (logs, np.log(-np.longdouble(x)))):
        unit = np.spacing(np.abs(exact).astype(dtype))
        assert float(np.max(np.abs(got - exact) / unit)) < 2
    x = np.array([-np.inf, -1e4, 0.0, np.nan, 2.0, np.inf], dtype)
    of_each(x, exps, logs)
    assert exps[:3].tolist() == [0, 0, 1]
    assert np.isnan(exps[3:6]).all()


def test_relations_of_subsets_are_none_nested_or_crossing():
    sets = [{0, 1, 2}, {1, 2}, {2, 3}, {5}, {1, 2}, {6, 7}]
    subsets = Subsets.from_indices([torch.tensor(sorted(each)) for each in sets], 8)
    expected = [
        [0 if not a & b or m == n else 1 if a <= b or b <= a else 2 for n, b in enumerate(sets)]
        for m, a in enumerate(sets)
    ]
    assert subsets.relations.tolist() == expected
    assert subsets.n_entries == 12
