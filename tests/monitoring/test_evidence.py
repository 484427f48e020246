"""Evidence of a change: bounded while there is none, whatever is watched, and quick when there is
one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from skin_pipeline.monitoring import evidence
from skin_pipeline.monitoring.evidence import Feature, Watch

Floats = NDArray[np.float64]
ALARM = 600.0


def watch_of(reference: Floats, alarm: float = ALARM, **about: Any) -> Watch:
    """Watches features (features, n)."""
    bets = [*evidence.shifts(), *evidence.spreads()]
    return Watch(
        [Feature(f"f{n}", f"f{n}", row, bets, **about) for n, row in enumerate(reference)], alarm
    )


def run(watch: Watch, stream: Floats, random: np.random.Generator, a_day: int = 8) -> float:
    """Returns the highest evidence."""
    highest = 0.0
    for start in range(0, stream.shape[1], a_day):
        values = stream[:, start : start + a_day]
        highest = max(highest, watch.add(values, random.random(values.shape)).max())
    return highest


# --- while nothing changes -----------------------------------------------------------------------


def test_bets_return_one_on_average() -> None:
    """Each bet on ranks is fair, so that no evidence comes from nothing."""
    middle = (np.arange(400_000) + 0.5) / 400_000
    probability = np.random.default_rng(0).random(300)
    labels = (np.random.default_rng(1).random(300) < probability).astype(float)
    bets = evidence.shifts() + evidence.spreads() + evidence.class_rates(probability, labels)
    assert len(bets) == 12
    for bet in bets:
        assert np.exp(bet(middle)).mean() == pytest.approx(1, abs=0.005)


def test_ranks_are_uniform_and_independent_of_the_values() -> None:
    random = np.random.default_rng(0)
    counts = np.zeros(4)
    for _ in range(2000):
        known, values = np.sort(random.integers(0, 3, 9)).astype(float), random.integers(0, 3, 4)
        found = evidence.ranks(known, values.astype(float), random.random(4))
        counts += np.histogram(found, 4, (0, 1))[0]
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.012)


def test_a_rank_counts_earlier_values_and_breaks_ties() -> None:
    known = np.array([1.0, 2.0, 2.0, 5.0])
    found = evidence.ranks(known, np.array([2.0, 0.0, 2.0]), np.array([0.5, 0.5, 0.0]))
    # 1 below and 3 equal of 5; 0 below and itself of 6; 2 below and 4 equal of 7, the tie at 0.
    np.testing.assert_allclose(found, [2.5 / 5, 0.5 / 6, 2 / 7])


def test_alarms_by_mistake_are_rare_over_a_month_of_many_looks() -> None:
    """The property that all rests on: in thirty days of exchangeable images that depend on each
    other across features, an alarm at 60 comes in at most half of the months, at 600 in 5 %."""
    months, sixty, six_hundred = 120, 0, 0
    for number in range(months):
        random = np.random.default_rng(number)
        shared = random.normal(size=(1, 500 + 240))
        values = np.exp(shared + 0.5 * random.normal(size=(6, 740)))  # skewed and correlated
        highest = run(watch_of(values[:, :500]), values[:, 500:], random)
        sixty, six_hundred = sixty + (highest >= 60), six_hundred + (highest >= 600)
    assert sixty / months <= 0.4
    assert six_hundred / months <= 0.05


def test_evidence_is_on_average_no_more_than_the_days() -> None:
    ends = []
    for number in range(300):
        random = np.random.default_rng(number)
        values = random.random((2, 150 + 80))
        watch = watch_of(values[:, :150], alarm=1e6)
        run(watch, values[:, 150:], random)
        ends.append(watch.evidence)
    assert watch.days == 10
    assert np.mean(ends) <= 10 + 3 * np.std(ends) / np.sqrt(300)


def test_images_of_one_patient_count_as_one_if_they_are_the_same() -> None:
    """Copies of each image, in groups of three: the design effect finds them, and without it they
    would be taken for evidence."""
    known, groups = np.random.default_rng(0).normal(size=200), np.repeat(np.arange(200), 3)
    design = evidence.design_effect(np.repeat(known, 3), groups)
    assert design == pytest.approx(3, abs=0.3)
    assert evidence.design_effect(known, np.arange(200)) == pytest.approx(1)
    high = {1.0: 0, design: 0}
    for number in range(60):
        random = np.random.default_rng([7, number])
        stream = np.repeat(random.normal(size=(1, 80)), 3, axis=1)
        reference = np.repeat(random.normal(size=(1, 150)), 3, axis=1)
        for effect in high:
            high[effect] += run(watch_of(reference, design=effect), stream, random) >= 100
    assert high[design] <= 18  # thirty days of a hundred
    assert high[1.0] >= 50


# --- when something changes ----------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda x: x + 0.7, lambda x: x - 0.7, lambda x: 2.2 * x])
def test_a_change_is_noticed_within_two_hundred_images(change: object) -> None:
    noticed = 0
    for number in range(20):
        random = np.random.default_rng(number)
        values = random.normal(size=(8, 500 + 200))
        values[3, 500:] = change(values[3, 500:])  # type: ignore[operator]
        watch = watch_of(values[:, :500])
        noticed += run(watch, values[:, 500:], random) >= ALARM
        assert int(np.argmax(watch.of_features)) == 3 or not watch.raised
    assert noticed >= 18


def test_it_says_since_when() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(2, 500 + 400))
    values[1, 500 + 240 :] += 1
    watch = watch_of(values[:, :500])
    run(watch, values[:, 500:], random, a_day=20)
    assert watch.raised
    assert abs(watch.since(1) - 12) <= 2


def test_a_share_is_noticed_when_it_exceeds_what_is_tolerated() -> None:
    never = np.zeros(300)
    feature = Feature("u", "u", never, evidence.shares(never, 0.02), ranked=False)
    random = np.random.default_rng(0)
    for rate, alarm in ((0.01, False), (0.15, True)):
        watch = Watch([feature], ALARM)
        run(watch, (random.random((1, 200)) < rate).astype(float), random)
        assert watch.raised == alarm


def test_a_share_that_was_usual_is_usual() -> None:
    often = (np.arange(300) % 5 == 0).astype(float)
    feature = Feature("u", "u", often, evidence.shares(often, 0.02), ranked=False)
    watch, random = Watch([feature], ALARM), np.random.default_rng(0)
    run(watch, (random.random((1, 600)) < 0.2).astype(float), random)
    assert not watch.raised


def test_more_malignant_images_are_noticed_by_their_scores() -> None:
    random = np.random.default_rng(0)

    def drawn(count: int, share: float) -> tuple[Floats, Floats]:
        labels = (random.random(count) < share).astype(float)
        return labels + 0.6 * random.normal(size=count), labels

    known, labels = drawn(600, 0.3)
    feature = Feature("m", "m", known, evidence.class_rates(known, labels))
    for share, alarm in ((0.3, False), (0.6, True)):
        watch = Watch([feature], ALARM)
        run(watch, drawn(200, share)[0][None], random)
        assert watch.raised == alarm


def test_without_both_classes_nothing_is_bet_on_their_share() -> None:
    assert evidence.class_rates(np.arange(5.0), np.zeros(5)) == []


def test_an_alarm_ends_when_images_are_as_before() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 500 + 700))
    values[0, 500:600] += 1.5
    watch = watch_of(values[:, :500])
    run(watch, values[:, 500:600], random)
    assert watch.raised
    assert watch.evidence <= evidence.CEILING * ALARM
    run(watch, values[:, 600:], random)
    assert not watch.raised


def test_images_without_a_value_say_nothing() -> None:
    watch = watch_of(np.random.default_rng(0).normal(size=(1, 50)))
    course = watch.add(np.full((1, 4), np.nan), np.full((1, 4), 0.5))
    np.testing.assert_allclose(course, 1)  # the bet of the day, which nothing was won with


def test_families_weigh_what_they_are_given() -> None:
    values, bets = np.arange(9.0), evidence.shifts()
    alone = Feature("a", "a", values, bets, weight=2)
    two = [Feature(name, "b", values, bets) for name in ("b", "c")]
    watch = Watch([alone, *two], ALARM)
    watch.add(np.full((3, 1), np.nan), np.zeros((3, 1)))
    np.testing.assert_allclose(watch.of_features, [2 / 3, 1 / 6, 1 / 6])
