"""Tables of subsets serve every call; the worked rows of the docstrings are true."""

import pytest
import torch
from reference import random_problem

from specialists.combination import (
    Subsets,
    combine,
    combine_sparse,
    concatenate_subsets,
    fit_combination,
    within_subsets,
)
from specialists.combination.learned.label_likelihood import LabelLikelihood
from specialists.combination.patterns.active_rows import gather_active_rows
from specialists.combination.patterns.entry_patterns import find_entry_patterns
from specialists.combination.problem import as_problem, dustbin_masses
from specialists.errors import InputError

KINDS = ["one", "disjoint", "covering", "nested", "overlapping", "mixed"]
quiet = pytest.mark.filterwarnings("ignore::specialists.errors.ConvergenceWarning")


def tables(subsets, n_classes=12):
    return Subsets.from_indices(subsets, n_classes)


def worked_problem(subsets=((0, 1, 2), (2, 3))):
    """Five classes, both subsets active in the only row."""
    specialists = [torch.zeros(1, len(subset) + 1).log_softmax(1) for subset in subsets]
    indices = [torch.tensor(subset) for subset in subsets]
    return as_problem(torch.zeros(1, 5).log_softmax(1), specialists, indices)


@quiet
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("kind", KINDS)
def test_subsets_made_once_give_what_a_sequence_gives(kind, direction):
    generalist, specialists, subsets, active, weights = random_problem(kind, 50, 0)
    once = tables(subsets)
    expected = combine(generalist, specialists, subsets, active, weights, direction)
    for _ in range(2):
        result = combine(generalist, specialists, once, active, weights, direction)
        assert torch.equal(result.log_probs, expected.log_probs)
        assert torch.equal(result.kkt_residual, expected.kkt_residual)


@quiet
@pytest.mark.parametrize("rule", [concatenate_subsets, within_subsets])
def test_subsets_made_once_serve_every_rule(rule):
    generalist, specialists, subsets, active, _ = random_problem("mixed", 50, 1)
    expected = rule(generalist, specialists, subsets, active)
    assert torch.equal(rule(generalist, specialists, tables(subsets), active), expected)
    labels = generalist.argmax(1)
    fitted = [
        fit_combination(generalist, specialists, x, labels) for x in (subsets, tables(subsets))
    ]
    assert fitted[0].to_dict() == fitted[1].to_dict()


def test_subsets_made_once_are_checked_once(monkeypatch):
    generalist, specialists, subsets, active, _ = random_problem("mixed", 50, 1)
    once = tables(subsets)
    monkeypatch.setattr(Subsets, "from_indices", None)
    assert combine(generalist, specialists, once, active).converged.all()


@quiet
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_subsets_made_and_used_without_gradients_serve_gradients_too(direction):
    arguments = random_problem("mixed", 50, 2, decades=1)
    with torch.inference_mode():
        once = tables([subset.clone() for subset in arguments[2]])
        combine(arguments[0], arguments[1], once, arguments[3], direction=direction)
    gradients = []
    for subsets in (arguments[2], once):
        generalist = arguments[0].clone().clamp(min=-20).log_softmax(1).requires_grad_()
        specialists = [log_p.clamp(min=-20).log_softmax(1) for log_p in arguments[1]]
        result = combine(generalist, specialists, subsets, arguments[3], direction=direction)
        result.log_probs.square().sum().backward()
        gradients.append(generalist.grad)
    assert torch.equal(*gradients)


def test_subsets_of_other_classes_are_refused():
    generalist, specialists, subsets, *_ = random_problem("disjoint", 5, 0)
    with pytest.raises(InputError, match="other classes") as caught:
        combine(generalist, specialists, tables(subsets, 13))
    assert "Subsets.from_indices(subsets, 12" in str(caught.value)
    with pytest.raises(InputError, match="differ in number"):
        combine(generalist, specialists, tables(subsets[:-1]))


def test_a_sparse_combination_needs_subsets_of_its_classes():
    top, log_probs, log_rest = torch.tensor([[1]]), torch.tensor([[0.6]]), torch.tensor([0.4])
    specialists, active = torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[0]])
    inputs = (top, log_probs.log(), log_rest.log(), specialists, active)
    with pytest.raises(InputError, match="there are no subsets"):
        combine_sparse(*inputs, subsets=[], n_classes=12)
    with pytest.raises(InputError, match="other classes"):
        combine_sparse(*inputs, tables([torch.tensor([1])]), n_classes=13)


def test_no_subsets_have_tables_too():
    none = tables([], 5)
    assert (len(none), none.n_classes, none.indices) == (0, 5, ())
    assert none.member.shape == (0, 5)


def test_the_worked_subsets_overlap_as_their_docstring_says():
    overlaps = worked_problem().subsets.overlaps
    assert overlaps is not None
    assert overlaps.pairs.tolist() == [1, 2]
    assert overlaps.starts.tolist() == [0, 1, 3]
    assert overlaps.positions.tolist() == [2, 0, 2]


def test_the_worked_row_has_the_entries_and_patterns_that_its_docstring_says():
    problem = worked_problem()
    active = gather_active_rows(problem, torch.tensor([0]), dustbin_masses(problem))
    patterns = find_entry_patterns(active, problem.subsets)
    assert active.classes.tolist() == [[0, 1, 2, 2, 3, 2]]
    assert patterns.counts.tolist() == [[1, 2, 1, 1]]
    assert patterns.ids(active, torch.tensor([0])).tolist() == [[1, 1, 3, 3, 2, 3]]
    assert patterns.shared is not None
    listed = sorted(
        zip(patterns.shared.entry.tolist(), patterns.shared.first.tolist(), strict=True)
    )
    assert listed == [(2, True), (3, False), (5, False)]


def test_the_worked_label_has_the_columns_that_its_docstring_says():
    problem = worked_problem(((0, 1, 2),))
    likelihood = LabelLikelihood.from_problem(problem, torch.tensor([1]))
    masses = likelihood.generalist.tempered(torch.tensor(1.0)).exp()
    torch.testing.assert_close(masses, torch.tensor([[0.4, 0.4, 0.0, 0.2, 0.0]]))
