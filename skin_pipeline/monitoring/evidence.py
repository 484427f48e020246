"""Evidence that a stream of images no longer looks like the reference, with few false alarms.

    watch = Watch([Feature("red", "colour", reference_values, bets=shifts())], alarm=600)
    for day in days:
        watch.add(values, ties)       # (features, images of the day)
        watch.evidence                # an alarm if it is at least `watch.alarm`

How it works, and why a test a day is not what it does:

* Each value is ranked among those of the reference and all earlier images of the stream. While
  nothing has changed, these ranks are independent and uniform, whatever the values are: conformal
  p-values, with ties broken at random (Vovk, Gammerman and Shafer 2005, chapter 8; Vovk et al.
  2021, "Retrain or not retrain").
* Bets are placed on the ranks. A bet is a function whose mean over uniform ranks is 1, so its
  product over images, the wealth, is not expected to grow while nothing has changed. It grows
  exponentially when ranks move in its direction.
* As nobody knows on which day a change begins, a new bet starts each day, and the wealth of all is
  summed (Shiryaev 1963, Roberts 1966; as an e-detector: Shin, Ramdas and Rinaldo 2024). The sum is
  at most the number of days, on average. By Ville's inequality it thus reaches `alarm` within d
  days with a probability of at most d / alarm, however many images there are and however often one
  looks; and it takes at least `alarm` days on average.
* Sums are averaged over bets and features, with weights. The bound holds for the average whatever
  the dependence between features (Vovk and Wang 2021), so nothing is lost to multiplicity but
  what the weights say.
* Images of one patient are alike. Each bet is raised to the power 1 / d, where d is the design
  effect of the groups in the reference (Kish 1965). If all images of a group were the same, that
  would count a group as one image. The mean stays at most 1 for groups of at most d images, however
  they depend on each other, because a geometric mean is at most the arithmetic one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

Floats = NDArray[np.float64]
Bet = Callable[[Floats], Floats]  # from ranks in 0…1 to the logarithm of what the bet returns

SHIFTS = (0.25, 0.5, 1.0)  # of a measure, in standard deviations of the reference
SPREADS = (0.6, 1.6)  # of a measure, as a factor
MORE = (2.0, 5.0, 12.0)  # by which a share may grow
CEILING = 10.0  # times the alarm: evidence above it is given away, so that it can fall again
MOST_KEPT = 20_000  # values with which new ones are compared; more would change no rank
EDGE = 1e-6  # a rank is not nearer to 0 or 1 than this


class Feature(NamedTuple):
    """Something that is watched.

    Attributes:
        name: Its name.
        family: Features of one family share the family's weight.
        reference: Its values in the reference (n,).
        bets: What is bet on its ranks.
        design: The design effect of the reference's groups, at least 1.
        ranked: Whether bets are on ranks, and not on the values themselves.
        weight: The weight of its family, against those of the others.
    """

    name: str
    family: str
    reference: Floats
    bets: Sequence[Bet]
    design: float = 1.0
    ranked: bool = True
    weight: float = 1.0


# --- bets ----------------------------------------------------------------------------------------


def shifts(sizes: Sequence[float] = SHIFTS) -> list[Bet]:
    """Returns bets that values became larger, or smaller: the best ones for normal values."""
    return [_shift(sign * size) for size in sizes for sign in (1, -1)]


def _shift(size: float) -> Bet:
    return lambda ranks: size * ndtri(ranks) - size**2 / 2


def spreads(factors: Sequence[float] = SPREADS) -> list[Bet]:
    """Returns bets that values scatter more, or less."""
    return [_spread(factor) for factor in factors]


def _spread(factor: float) -> Bet:
    return lambda ranks: ndtri(ranks) ** 2 * (1 - factor**-2) / 2 - np.log(factor)


def shares(reference: Floats, tolerated: float) -> list[Bet]:
    """Returns bets that something which is 0 or 1 is 1 more often than usual.

    Ranks would say little of something rare. So these bets are on the values themselves, against
    every share up to the upper end of the reference's 95 % interval (Clopper and Pearson 1934), or
    up to what is tolerated.
    """
    ones = float(reference.sum())
    usual = max(tolerated, float(betaincinv(ones + 1, max(len(reference) - ones, 1e-9), 0.975)))
    return [_share(usual, now) for more in MORE if (now := min(0.95, usual * more)) > usual]


def _share(usual: float, now: float) -> Bet:
    yes, no = np.log(now / usual), np.log((1 - now) / (1 - usual))
    return lambda values: np.asarray(np.where(values > 0, yes, no), np.float64)


def class_rates(probability: Floats, malignant: Floats) -> list[Bet]:
    """Returns bets that malignant images became more frequent, or less, and all else is the same.

    Where a share `usual` of the reference is malignant, and a share m(u) of its images with a
    probability of rank u, the likelihood ratio for a share `now` is
    now m(u) / usual + (1 - now) (1 - m(u)) / (1 - usual).

    Args:
        probability: Held-out probabilities of the reference (n,).
        malignant: 1 for its malignant images (n,).
    """
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(probability, kind="stable")
    # The share of malignant images rises with the probability, if the model is worth anything.
    found = IsotonicRegression(y_min=0, y_max=1).fit_transform(
        np.arange(len(order)), malignant[order]
    )
    usual = float(found.mean())
    if not 0 < usual < 1:
        return []
    odds = usual / (1 - usual) * np.array([0.25, 0.5, 2, 4])
    return [_class_rate(found, usual, float(now)) for now in odds / (1 + odds)]


def _class_rate(share: Floats, usual: float, now: float) -> Bet:
    ratio = now * share / usual + (1 - now) * (1 - share) / (1 - usual)
    table = np.log(ratio)
    return lambda ranks: table[np.minimum((ranks * len(table)).astype(int), len(table) - 1)]


def design_effect(values: Floats, group: NDArray[np.int64]) -> float:
    """Returns by how much groups of similar images inflate the variance of a sum: at least 1."""
    standing = ndtri((np.argsort(np.argsort(values, kind="stable")) + 0.5) / len(values))
    sums = np.bincount(group, standing)
    return float(max(1.0, (sums**2).sum() / (standing**2).sum()))


# --- ranks ---------------------------------------------------------------------------------------


def ranks(known: Floats, values: Floats, ties: Floats) -> Floats:
    """Returns the rank of each value (n,) in 0…1, among known values and those before it.

    Args:
        known: Values that were there before, sorted.
        values: New values, in order.
        ties: A uniform random number for each: where it stands among equal values.
    """
    below = np.searchsorted(known, values, "left").astype(float)
    same = np.searchsorted(known, values, "right") - below
    before = np.tri(len(values), k=-1)
    below += (before * (values[None] < values[:, None])).sum(axis=1)
    same += (before * (values[None] == values[:, None])).sum(axis=1) + 1  # itself
    count = len(known) + np.arange(1, len(values) + 1)
    return np.asarray(np.clip((below + ties * same) / count, EDGE, 1 - EDGE))


# --- the sum of all bets -------------------------------------------------------------------------


@dataclass
class Watch:
    """The evidence of all features, day after day.

    Attributes:
        features: What is watched; each has at least one bet.
        alarm: The evidence from which there is an alarm; in days, see the module.
        days: How many days there were.
        raised: Whether there is an alarm. It ends when the evidence is a tenth of `alarm`.
    """

    features: Sequence[Feature]
    alarm: float
    days: int = 0
    raised: bool = False
    _weights: Floats = field(init=False)  # of each feature and bet: 1 in all; 0 where there is none
    _wealth: Floats = field(init=False)  # of each feature and bet, all starts together
    _log: Floats = field(init=False)  # the logarithm of the product of all returns
    _lowest: Floats = field(init=False)  # the least that it was
    _since: NDArray[np.int64] = field(init=False)  # the day that followed
    _known: list[Floats] = field(init=False)

    def __post_init__(self) -> None:
        self._weights = _weights(self.features)
        self._wealth, self._log, self._lowest = np.zeros((3, *self._weights.shape))
        self._since = np.zeros(self._weights.shape, np.int64)
        self._known = [np.sort(feature.reference) for feature in self.features]

    @property
    def of_features(self) -> Floats:
        """The evidence of each feature, weighted (features,)."""
        return np.asarray((self._weights * self._wealth).sum(axis=1))

    @property
    def evidence(self) -> float:
        """The evidence of all features: at most `days` on average while nothing has changed."""
        return float(self.of_features.sum())

    def since(self, feature: int) -> int:
        """Returns the first day, counted from 0, of the change that a feature's evidence shows."""
        best = int(np.argmax(self._weights[feature] * self._wealth[feature]))
        return int(self._since[feature, best])

    def add(self, values: Floats, ties: Floats) -> Floats:
        """Adds the images of a day. Returns the evidence after each of them (n,).

        Args:
            values: Of each feature and image (features, n); NaN where an image has none.
            ties: A uniform random number for each (features, n).
        """
        returns = self._returns(values, ties)
        self._remember(returns)
        wealth, course = self._wealth + 1, np.empty(values.shape[1])  # a new start
        for image, step in enumerate(np.exp(returns)):
            wealth = wealth * step
            reached = float((self._weights * wealth).sum())
            # What is given away lowers the mean only: the bound still holds.
            wealth *= min(1.0, CEILING * self.alarm / max(reached, 1e-300))
            course[image] = min(reached, CEILING * self.alarm)
        self._wealth, self.days = wealth, self.days + 1
        above = course.max(initial=0.0) >= self.alarm
        self.raised = bool(above or (self.raised and self.evidence > self.alarm / 10))
        return course

    def _returns(self, values: Floats, ties: Floats) -> Floats:
        """Returns the logarithm of what each bet returns (n, features, bets); 0 for no bet."""
        made = np.zeros((values.shape[1], *self._weights.shape))
        for number, feature in enumerate(self.features):
            there = np.flatnonzero(np.isfinite(values[number]))
            seen = values[number, there]
            known = self._known[number]
            placed = ranks(known, seen, ties[number, there]) if feature.ranked else seen
            for place, bet in enumerate(feature.bets):
                made[there, number, place] = bet(placed) / feature.design
            # Images after an alarm are not what new ones should be compared with.
            if feature.ranked and not self.raised and len(known) < MOST_KEPT:
                self._known[number] = np.sort(np.concatenate([known, seen]))
        return made

    def _remember(self, returns: Floats) -> None:
        """Notes since which day each bet has gained."""
        lower = self._log < self._lowest
        self._lowest = np.where(lower, self._log, self._lowest)
        self._since = np.where(lower, self.days, self._since)
        self._log = self._log + returns.sum(axis=0)


def _weights(features: Sequence[Feature]) -> Floats:
    """Returns the weight of each feature and bet (features, bets), which are 1 in all."""
    families = {feature.family: feature.weight for feature in features}
    every, names = sum(families.values()), [feature.family for feature in features]
    made = np.zeros((len(features), max(len(feature.bets) for feature in features)))
    for number, feature in enumerate(features):
        alike = names.count(feature.family) * len(feature.bets)
        made[number, : len(feature.bets)] = feature.weight / (every * alike)
    return made
