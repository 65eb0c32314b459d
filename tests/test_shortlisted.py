"""The closed form for shortlists is the exact minimiser of KL(q || p), in every extreme."""

import warnings

import pytest
import torch

from specialists.combination import combine, combine_shortlists, geometric_mean
from specialists.errors import InputError
from tests.reference import dense, reverse_objective


def random_case(seed, n=24, n_classes=9, k=4, n_members=2, decades=2.0, zeros=0.0):
    """Log-probabilities of a generalist and of members over random shortlists."""
    generator = torch.Generator().manual_seed(seed)

    def log_probs(width):
        logits = torch.randn(n, width, generator=generator, dtype=torch.float64) * decades
        hidden = torch.rand(n, width, generator=generator) < zeros
        hidden[torch.arange(n), torch.randint(width, (n,), generator=generator)] = False
        return logits.masked_fill(hidden, -torch.inf).log_softmax(1)

    order = torch.rand(n, n_classes, generator=generator).argsort(1)
    classes = order[:, :k].sort(1).values
    return log_probs(n_classes), classes, [log_probs(k) for _ in range(n_members)]


def with_dustbins(generalist, classes, members):
    """The row's members as specialists whose dustbin is the generalist's mass outside."""
    inside = torch.zeros(generalist.shape[1], dtype=torch.bool)
    inside[classes] = True
    mass, rest = generalist[:, inside].logsumexp(1), generalist[:, ~inside].logsumexp(1)
    if bool(inside.all()):
        rest = torch.full_like(mass, -torch.inf)
    return [torch.cat([m + mass[:, None], rest[:, None]], 1) for m in members]


def by_the_solver(generalist, classes, members, weights):
    """Each row by ``combine``, which knows nothing of shortlists."""
    rows = []
    for i, subset in enumerate(classes):
        kept = subset >= 0
        part = [m[i : i + 1, kept] for m in members]
        specialists = with_dustbins(generalist[i : i + 1], subset[kept], part)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows.append(
                combine(
                    generalist[i : i + 1],
                    specialists,
                    [subset[kept]] * len(members),
                    weights=torch.tensor(weights, dtype=torch.float64),
                    direction="reverse",
                ).log_probs
            )
    return torch.cat(rows)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 4, 9])
@pytest.mark.parametrize(("decades", "zeros"), [(1.0, 0.0), (12.0, 0.0), (1.0, 0.4)])
def test_shortlists_are_combined_as_the_solver_does(seed, k, decades, zeros):
    case = random_case(seed, k=k, decades=decades, zeros=zeros)
    weights = [0.7, 2.5]
    joined = combine_shortlists(*case, weights)
    expected = by_the_solver(*case, weights)
    assert torch.allclose(joined.exp(), expected.exp(), rtol=0, atol=1e-10)
    assert torch.equal(joined == -torch.inf, expected == -torch.inf)
    if zeros == 0:
        assert torch.allclose(joined, expected, rtol=1e-7, atol=1e-7)


def test_no_small_change_improves_the_objective_of_a_shortlist():
    generalist, classes, members = random_case(5, n=1)
    q = combine_shortlists(generalist, classes, members, [1.0, 0.5]).exp()
    specialists = with_dustbins(generalist, classes[0], members)
    problem = dense(generalist, specialists, [classes[0]] * 2, weights=torch.tensor([1.0, 0.5]))
    best = reverse_objective(problem, q)
    assert float(q.sum()) == pytest.approx(1, abs=1e-12)
    for i in range(9):
        for step in (1e-4, -1e-4):
            other = q.clone()
            other[0, i] *= 1 + step
            assert reverse_objective(problem, other / other.sum()) > best


def test_a_shortlist_of_all_classes_gives_the_geometric_mean():
    generalist, classes, members = random_case(3, k=9)
    joined = combine_shortlists(generalist, classes, members, [2.0, 0.5])
    expected = geometric_mean([generalist, *members], [1.0, 2.0, 0.5])
    assert torch.allclose(joined, expected, rtol=0, atol=1e-12)


def test_padding_is_as_if_the_shortlist_were_shorter():
    generalist, classes, members = random_case(2, k=3)
    expected = combine_shortlists(generalist, classes, members)
    longer = torch.nn.functional.pad(classes, (0, 2), value=-1)
    padded = [torch.nn.functional.pad(m, (0, 2), value=-torch.inf) for m in members]
    assert torch.equal(combine_shortlists(generalist, longer, padded), expected)


def test_a_row_that_nobody_agrees_on_keeps_the_generalist():
    generalist = torch.tensor([[0.5, 0.5, 0.0]]).log()
    member = torch.tensor([[0.0, 0.0, 1.0]]).log()
    joined = combine_shortlists(generalist, torch.tensor([[0, 1, 2]]), [member])
    assert torch.equal(joined, generalist)


def test_a_generalist_without_mass_outside_keeps_its_digits_where_members_disagree():
    generalist = torch.tensor([[0.0, -60.0, -80.0]], dtype=torch.float64).log_softmax(1)
    member = torch.tensor([[-200.0, 0.0]], dtype=torch.float64).log_softmax(1)
    case = (generalist, torch.tensor([[0, 1]]), [member])
    assert torch.allclose(combine_shortlists(*case), by_the_solver(*case, [1.0]), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_sum_to_one_in_lower_precision_and_in_place(dtype):
    generalist, classes, members = random_case(1, n_classes=300, k=30)
    generalist = generalist.to(dtype)
    joined = combine_shortlists(generalist, classes, [m.float() for m in members])
    assert joined.dtype == torch.float32
    assert torch.allclose(
        joined.exp().sum(1), torch.ones(24), atol=1e-2 if dtype.itemsize == 2 else 1e-5
    )
    if dtype == torch.float32:
        again = combine_shortlists(
            generalist, classes, [m.float() for m in members], out=generalist
        )
        assert again.data_ptr() == generalist.data_ptr()
        assert torch.equal(generalist, joined)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": torch.tensor([[1, 1]])}, "distinct classes in increasing order"),
        ({"classes": torch.tensor([[-1, 1]])}, "distinct classes in increasing order"),
        ({"classes": torch.tensor([[0, 3]])}, "distinct classes in increasing order"),
        ({"classes": torch.tensor([[0.0, 1.0]])}, "not one for each row"),
        ({"members": []}, "no members"),
        ({"members": [torch.zeros(1, 2)]}, "no log-probabilities over the shortlist"),
        ({"members": [torch.zeros(1, 3)]}, "does not fit the shortlists"),
        ({"members": [torch.full((1, 2), torch.nan)]}, "no log-probabilities over the shortlist"),
        ({"generalist": torch.zeros(1, 3)}, "sum to more than 1"),
        ({"weights": [0.0]}, "positive finite"),
    ],
)
def test_wrong_arguments_are_refused(change, words):
    right = {
        "generalist": torch.tensor([[0.4, 0.4, 0.2]]).log(),
        "classes": torch.tensor([[0, 1]]),
        "members": [torch.tensor([[0.9, 0.1]]).log()],
    }
    with pytest.raises(InputError, match=words):
        combine_shortlists(**{**right, **change})
