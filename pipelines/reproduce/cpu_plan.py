"""How long is everything trained? Five CPU hours at most, with three seeds.

CPU seconds of an epoch (``time.process_time``, one thread) are those of a core that multiplies in
bfloat16. The machine had other work, so the seconds are rather too many. In float32 the large
networks take twice as long. An epoch on few rows reads each of them several times. The times of
students of ten models, and of students of few rows, are reckoned from their steps.

====================================  =========  ======  ==========  ===========  =====
experiment                               epochs  models   s / epoch  CPU minutes  seeds
====================================  =========  ======  ==========  ===========  =====
mnist, 2 x 1,200 with dropout               300       3         6.0           90      3
mnist, 2 x 800, hard labels                  40       3         3.0            6      3
mnist, 2 x 800, soft targets                100       3         3.0           15      3
temperatures, 800 / 300 / 100 / 30           30      36  3.0 to 0.8           29      1
transfer, without 3                         100       3         3.0           15      3
transfer, 7 and 8 alone                     100       3         0.8            4      3
transfer, shorter trainings             5 to 50       8  3.0 and 0.8            5      1
regulariser, MNIST                           40      18  0.6 to 5.0           20      3
regulariser, O*NET                     30 to 90      26  0.1 to 1.0           10      3
ensemble, MNIST, 3% of the labels            50      30         1.2           30      3
ensemble, its students, and labels alone     50       9  1.2 to 2.9           18      3
ensemble, Omniglot, 120 characters          120      30         0.4           21      3
ensemble, its students, and labels alone    240       9  0.3 to 0.9           25      3
specialists, O*NET                           30     123         0.1            9      3
logits                                        -       -           -            1      1
together                                                                     298
====================================  =========  ======  ==========  ===========  =====

The page says what the trainings took.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from specialists.config import Recipe

WITHOUT_LIMIT = math.inf  # the temperature at which logits are matched


@dataclass(frozen=True)
class PaperPlan:
    """Sizes of networks and lengths of trainings; the defaults are those of the table above.

    Parameters
    ----------
    teacher_width, student_width : int
        Units in each of the two layers of the large and of the small network.
    max_norm : float
        The longest incoming weights of a unit, in regularised networks.
    teacher_epochs, hard_epochs, soft_epochs : int
        Of the large network, and of the small one with hard labels and with soft targets.
    transfer_epochs : int
        Of students whose transfer set lacks classes.
    transfer_lengths : tuple of int
        Epochs of such students that stop earlier, with one seed.
    member_epochs, member_student_epochs : int
        Of an ensemble's members and its student on digits, each of several passes over few rows.
    picture_width, picture_epochs, picture_student_epochs : int
        Of the same on pictures of many classes.
    curve_widths, curve_temperatures, curve_epochs
        Of the students that the temperature is compared for.
    shares : tuple of float
        Fractions of the training rows, for soft targets as regularisers.
    few : float
        The fraction at which the paper has figures, and of the labels that ensembles get on digits.
    few_temperatures, online_temperatures : tuple of float
        Among which validation chooses for students of few rows, and for students of ensembles.
    n_members : int
        Models in an ensemble.
    n_classes : int
        So many first classes of a many-class data set are what ensembles are trained on.
    n_specialists, subset_size : int
        Specialists, and classes of each.
    specialist_epochs : int, optional
        None: those of the configuration.
    batch_size : int
    rate : float
        Peak learning rate.
    """

    teacher_width: int = 1200
    student_width: int = 800
    max_norm: float = 15.0**0.5
    teacher_epochs: int = 300
    hard_epochs: int = 40
    soft_epochs: int = 100
    curve_epochs: int = 30
    transfer_epochs: int = 100
    transfer_lengths: tuple[int, ...] = (5, 10, 20, 50)
    member_epochs: int = 50
    member_student_epochs: int = 50
    picture_width: int = 32
    picture_epochs: int = 120
    picture_student_epochs: int = 240
    curve_widths: tuple[int, ...] = (30, 100, 300, 800)
    curve_temperatures: tuple[float, ...] = (1, 2.5, 4, 8, 12, 20, 40, WITHOUT_LIMIT)
    shares: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    few: float = 0.03
    few_temperatures: tuple[float, ...] = (1, 2, 5, 20)
    online_temperatures: tuple[float, ...] = (1, 2, 5, 10)
    n_members: int = 10
    n_classes: int = 120
    n_specialists: int = 40
    subset_size: int = 60
    specialist_epochs: int | None = None
    batch_size: int = 256
    rate: float = 1e-3

    def recipe(
        self,
        n_epochs: int,
        batch_size: int | None = None,
        select_by: Literal["loss", "top1"] = "top1",
    ) -> Recipe:
        """Adam with a cosine and no weight decay; what chooses the epoch is of validation rows."""
        return Recipe(
            epochs=n_epochs,
            batch_size=batch_size or self.batch_size,
            learning_rate=self.rate,
            weight_decay=0.0,
            select_by=select_by,
        )


def quick_plan() -> PaperPlan:
    """The same trainings in seconds, to see that they run; their figures mean nothing."""
    return replace(
        PaperPlan(),
        teacher_width=32,
        student_width=24,
        teacher_epochs=4,
        hard_epochs=2,
        soft_epochs=4,
        curve_epochs=1,
        transfer_epochs=4,
        transfer_lengths=(1, 2),
        member_epochs=2,
        member_student_epochs=2,
        picture_width=8,
        picture_epochs=1,
        picture_student_epochs=1,
        curve_widths=(4, 8),
        curve_temperatures=(2.5, 8, WITHOUT_LIMIT),
        shares=(0.3, 1.0),
        few=0.3,
        few_temperatures=(2, 5),
        online_temperatures=(1, 2),
        n_members=2,
        n_classes=21,
        n_specialists=3,
        subset_size=4,
        specialist_epochs=1,
        batch_size=64,
        rate=1e-2,
    )
