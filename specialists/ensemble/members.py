"""A generalist and its specialists as one model that predicts.

Specialists run only on the examples about which the rule asks them, on the outputs of the trunk
that they share with the generalist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from specialists.combination import Subsets
from specialists.datasets.base import Inputs, rows_between
from specialists.datasets.fetched_rows import block_rows
from specialists.ensemble.asking import AskedSpecialists
from specialists.ensemble.member_predictions import MemberPredictions
from specialists.ensemble.rules import PAPER, CombinationRule, active_specialists, join
from specialists.ensemble.shared_members import (
    SharedAnswersOfNow,
    SharedMembers,
    with_shared,
)
from specialists.networks import (
    TransformerTrunk,
    inference_flops,
    n_parameters,
    outputs_of,
    plain_inputs,
)
from specialists.predictions import (
    DensePredictions,
    Predictions,
    concatenated,
    network_predictions,
)
from specialists.probability import tempered_log_softmax
from specialists.specialist import Specialist
from specialists.trunk import predict_features

ROWS_AT_A_TIME = 2048  # one batch of every network


@dataclass(frozen=True)
class Ensemble:
    """A generalist and its specialists, ready to predict.

    Parameters
    ----------
    upper : nn.Module
        The generalist, or the part of it above the shared trunk.
    specialists : sequence of Specialist
    rule : CombinationRule
        Which specialists are asked, and how the predictions are combined.
    temperature : float
        The generalist's.
    lower : nn.Module, optional
        The frozen trunk that generalist and specialists share; None: there is none.
    shared : SharedMembers, optional
        Specialists that all rows share; None: there are none.
    """

    upper: nn.Module
    specialists: Sequence[Specialist]
    rule: CombinationRule = PAPER
    temperature: float = 1.0
    lower: nn.Module | None = None
    shared: SharedMembers | None = None

    @property
    def subsets(self) -> list[Tensor]:
        return [specialist.subset for specialist in self.specialists]

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        parameter = next(self.upper.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    @property
    def members(self) -> list[Specialist]:
        """The specialists that the rule may ask."""
        return [self.specialists[m] for m in self.rule.may_answer(len(self.specialists))]

    @property
    def parameters(self) -> int:
        """Of the generalist and the members; what they share counts once."""
        parts = [self.upper, *(specialist.network for specialist in self.members)]
        if self.shared is not None:
            parts += [one.network for one in self.shared.specialists[: self.rule.n_shared]]
        return n_parameters(nn.ModuleList(parts if self.lower is None else [self.lower, *parts]))

    @cached_property
    def _asked(self) -> AskedSpecialists:
        for specialist in self.specialists:
            specialist.network.eval()
        return AskedSpecialists(self.specialists)

    @cached_property
    def _made_tables(self) -> dict[tuple[int, torch.device], Subsets]:
        return {}

    def _tables(self, log_probs: Tensor) -> Subsets:
        """The subsets as they are combined with such log-probabilities; checked once."""
        key = (log_probs.shape[1], log_probs.device)
        if key not in self._made_tables:
            self._made_tables[key] = Subsets.from_indices(self.subsets, *key)
        return self._made_tables[key]

    def features(self, inputs: Inputs) -> Inputs:
        """What the parts above the trunk take."""
        return inputs if self.lower is None else predict_features(self.lower, inputs)

    def generalist_predictions(self, features: Inputs) -> Predictions:
        """The calibrated generalist's."""
        return network_predictions(self.upper, features, self.temperature)

    def specialist_log_probs(self, features: Inputs, active: Tensor | None = None) -> list[Tensor]:
        """Log-probabilities [n, k_m + 1] of every specialist, computed only where it is active.

        Rows where it is not hold anything and must not be used.
        """
        if active is None:
            return [specialist.log_probs(features) for specialist in self.specialists]
        features = plain_inputs(features)
        with torch.no_grad():
            answers = self._asked.log_probs(features.to(self.device), active.to(self.device))
        return [answer.cpu() for answer in answers]

    def predictions(self, inputs: Inputs) -> Predictions:
        """Of the whole ensemble; specialists run only where they are asked."""
        n, result = len(inputs), None
        if n == 0:
            raise ValueError("no rows to predict")
        with torch.no_grad():
            size = block_rows(inputs, ROWS_AT_A_TIME)
            for start in range(0, n, size):
                stop = min(start + size, n)
                log_probs = self._block(rows_between(inputs, start, stop).to(self.device))
                if stop - start == n:
                    return DensePredictions(log_probs.cpu())
                if result is None:
                    result = torch.empty((n, log_probs.shape[1]), dtype=log_probs.dtype)
                result[start:stop] = log_probs
        assert result is not None
        return DensePredictions(result)

    def _block(self, inputs: Inputs) -> Tensor:
        """Log-probabilities [n, C] of a few rows, on the device of the networks."""
        for network in (self.lower, self.upper):
            if network is not None and network.training:
                network.eval()
        features = inputs if self.lower is None else outputs_of(self.lower, inputs).float()
        logits = outputs_of(self.upper, features.clone()).float()
        generalist = tempered_log_softmax(logits, self.temperature)
        inputs, features = plain_inputs(inputs), plain_inputs(features)
        if self.rule.shared is None or self.shared is None:
            return self._with_clusters(features, generalist)
        own = generalist if self.rule.members == () else generalist.clone()
        answers = SharedAnswersOfNow(self.shared, inputs, own)
        confidence = DensePredictions(generalist).confidence().clamp_max(1.0)
        asked = self.rule.asks_shared(confidence)
        together = self._with_clusters(features, generalist)
        return with_shared(together, asked, confidence, answers, self.rule.shared)

    def _with_clusters(self, features: Inputs, generalist: Tensor) -> Tensor:
        """Joined rows replace the generalist's; where nobody is asked nothing is copied."""
        if self.rule.members == () or not self.specialists:
            return generalist
        tables = self._tables(generalist)
        active = active_specialists(DensePredictions(generalist), tables, self.rule)
        if self.rule.learned is not None:  # it changes the generalist's rows too
            rows = torch.arange(len(active), device=active.device)
        else:
            rows = active.any(1).nonzero().squeeze(1)
        if not len(rows):
            return generalist
        some = len(rows) < len(active)
        if some:
            active = active[rows]
        asked = generalist[rows] if some else generalist
        dustbin, rule, mend = self.rule.dustbin, self.rule, None
        if dustbin is not None:  # mended while the answers lie together
            rule, mend = replace(rule, dustbin=None), partial(dustbin.mend_, asked, tables)
        specialists = self._asked.log_probs(features, active, rows if some else None, mend)
        joined = join(DensePredictions(asked), specialists, tables, active, rule).dense()
        return generalist.index_copy_(0, rows, joined) if some else joined

    def member_predictions(
        self, inputs: Inputs, weights: Tensor | None = None
    ) -> MemberPredictions:
        """What every member predicts for every row, whatever the rule.

        Rows count as so many as ``weights`` (n,) say.
        """
        generalist, each = self.flops(cost_sample(inputs).to(self.device))
        known, answers = self._alone(inputs)
        inputs = plain_inputs(inputs)
        return MemberPredictions(
            known,
            answers,
            self.subsets,
            generalist,
            each,
            self.shared and self.shared.predictions(inputs, known, _sampled(inputs)),
            weights,
        )

    def _alone(self, inputs: Inputs) -> tuple[Predictions, list[Tensor]]:
        """What generalist and specialists say of every row.

        The vectors that a transformer's trunk gives are held for a few rows at a time.
        """
        n = len(inputs)
        size = ROWS_AT_A_TIME if isinstance(self.lower, TransformerTrunk) else n
        known, answers = list[Predictions](), list[list[Tensor]]()
        for start in range(0, n, size):
            whole = size >= n
            rows = inputs if whole else rows_between(inputs, start, min(start + size, n))
            features = self.features(rows)
            known.append(self.generalist_predictions(features))
            answers.append(self.specialist_log_probs(plain_inputs(features)))
        if len(known) == 1:
            return known[0], answers[0]
        return concatenated(known), [torch.cat(of_one) for of_one in zip(*answers, strict=True)]

    def flops(self, inputs: Inputs) -> tuple[float, Tensor]:
        """FLOPs of one prediction of the generalist, and of each specialist beyond the trunk."""
        features = inputs
        shared = 0.0
        if self.lower is not None:
            shared = inference_flops(self.lower, inputs)
            with torch.no_grad():
                features = outputs_of(self.lower, inputs)
        generalist = shared + inference_flops(self.upper, features)
        features = plain_inputs(features)
        each = [inference_flops(member.network, features) for member in self.specialists]
        return generalist, torch.tensor(each, dtype=torch.float64)


def cost_sample(inputs: Inputs, n: int = 1024) -> Inputs:
    """At most ``n`` evenly spaced inputs, to count operations on."""
    return inputs[_sampled(inputs, n)]


def _sampled(inputs: Inputs, n: int = 1024) -> Tensor:
    last = len(inputs) - 1
    return torch.linspace(0, last, block_rows(inputs, min(n, len(inputs)))).long()
