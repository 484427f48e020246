"""False alarms of monitoring in months without drift, and how soon it notices what has changed.

Real images of `../shared/data` (a set like Kaggle's, and ISIC 2017 as another source), of which
each simulated month draws new patients: 62 % are the reference and the others the stream, 8 images
a day, without replacement. Images of one patient come together. Probabilities are held out, as in
an evaluation. Watched are the same features as in production, with the same alarm.

Three methods are compared: the one of `monitoring.evidence`; one conformal martingale from the
first day on, with an alarm at 20 (Ville's inequality); and a test a day (Kolmogorov-Smirnov,
Bonferroni over features, at 5 %).

    make bench BENCH=drift_simulation ARGS="--months 500"

The features of the images are computed once and kept in `--cache`, which takes some minutes.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import drift_images
import numpy as np
import pandas as pd
from drift_images import Looks
from measuring import parser, report
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skin_pipeline.evaluation import space
from skin_pipeline.monitoring import drift, evidence, measures, reference, watched

SHARED = Path(__file__).parents[2] / "shared"
A_DAY, DAYS = 8, 30
BEFORE, WITHIN = 40, 200  # images before a change, and those within which it is to be noticed
FOR_SPACE, FOR_REFERENCE = 0.12, 0.62  # shares of the patients
SHARES = (0.4, 1 / 3, 0.25)  # of malignant images; the first is that of the claim
OTHERS = 600  # images of another source
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Stream = dict[str, Floats]


class Data(NamedTuple):
    """All images: labels and patients (n,), their looks and probabilities by what was changed,
    and those of another source."""

    malignant: Ints
    patient: Ints
    looks: dict[str, Looks]
    probability: dict[str, Floats]
    other: tuple[Ints, Looks, Floats]


def prepared(data: Path, external: Path, weights: Path, cache: Path, share: float) -> Data:
    """Computes or reads how all images look, and scores each by a model that never saw it."""
    table = drift_images.kaggle(data)
    malignant, patient = table["malignant"].to_numpy(), pd.factorize(table["patient"])[0]
    looks = {
        change: drift_images.looks(table, change, weights, cache) for change in drift_images.CHANGES
    }
    foreign = drift_images.another_source(external, share, OTHERS)
    far = drift_images.looks(foreign, "as it is", weights, cache)
    probability = {change: np.zeros(len(table)) for change in looks}
    theirs, folds = np.zeros(len(foreign)), StratifiedGroupKFold(5, shuffle=True, random_state=0)
    seen = looks["as it is"].pooled
    for train, held_out in folds.split(seen, malignant, patient):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-4, max_iter=300))
        model.fit(seen[train], malignant[train])
        for change, made in looks.items():
            probability[change][held_out] = model.predict_proba(made.pooled[held_out])[:, 1]
        theirs += model.predict_proba(far.pooled)[:, 1] / folds.get_n_splits()
    return Data(
        malignant, patient, looks, probability, (foreign["malignant"].to_numpy(), far, theirs)
    )


def placed(data: Data, made: space.Space) -> Data:
    """Returns the images with their embeddings in the place of their pooled features."""
    looks = {
        kind: Looks(item.measures, made.embed(item.pooled)) for kind, item in data.looks.items()
    }
    labels, far, theirs = data.other
    other = labels, Looks(far.measures, made.embed(far.pooled)), theirs
    return data._replace(looks=looks, other=other)


class Month(NamedTuple):
    """What a month draws from: what is watched in a reference, and the rows left for a stream."""

    features: list[evidence.Feature]
    rest: Ints
    random: np.random.Generator


def month(data: Data, left: Ints, share: float, seed: list[int]) -> Month:
    """Divides the patients anew."""
    random = np.random.default_rng(seed)
    patients = random.permutation(np.unique(data.patient[left]))
    chosen = patients[: int(FOR_REFERENCE * len(patients))]
    inside = left[np.isin(data.patient[left], chosen)]
    rows = with_share(data.malignant, inside, share, random)
    looks = data.looks["as it is"]
    known = reference.Reference(
        looks.measures[rows],
        data.probability["as it is"][rows].astype(np.float32),
        data.malignant[rows].astype(np.uint8),
        data.patient[rows],
        looks.pooled[rows],
        np.zeros(len(rows), np.uint8),
        space.nowhere(),
        0.5,
    )
    return Month(watched.features(known), np.setdiff1d(left, inside), random)


def with_share(malignant: Ints, rows: Ints, share: float, random: Any) -> Ints:
    """Returns as many of the rows as there are with this share of malignant ones."""
    sick, well = rows[malignant[rows] == 1], rows[malignant[rows] == 0]
    most = min(len(sick) / share, len(well) / (1 - share))
    parts = (sick, share), (well, 1 - share)
    return np.concatenate([random.permutation(part)[: int(most * s)] for part, s in parts])


def together(patient: Ints, rows: Ints, random: Any) -> Ints:
    """Returns rows in a random order in which images of one patient follow each other."""
    order = random.random(patient.max() + 1)
    return rows[np.argsort(order[patient[rows]], kind="stable")]


def stream(looks: Looks, probability: Floats, rows: Ints) -> Stream:
    """Returns what is watched of images, in order."""
    table = pd.DataFrame(looks.measures[rows], columns=list(measures.NAMES))
    embedded = looks.pooled[rows]
    table = table.assign(probability=probability[rows], abstained=False, embedding=list(embedded))
    return watched.values_of(table, embedded.shape[1])


def changed(data: Data, kind: str, share: float, before: int, now: Month) -> Stream:
    """Returns a stream in which something changes after `before` images, or nothing does."""
    usual, wanted = data.probability["as it is"], before + WITHIN
    rows = with_share(data.malignant, now.rest, share, now.random)
    rows = together(data.patient, rows, now.random)
    if kind == "none":
        return stream(data.looks["as it is"], usual, rows[: A_DAY * DAYS])
    first = stream(data.looks["as it is"], usual, rows[:before])
    if kind == "another source":
        labels, far, theirs = data.other
        later = now.random.permutation(
            with_share(labels, np.arange(len(labels)), share, now.random)
        )
        second = stream(far, theirs, later[:WITHIN])
    elif kind == "doubled share of malignant":
        left = np.setdiff1d(now.rest, rows[:before])
        later = together(
            data.patient, with_share(data.malignant, left, 2 * share, now.random), now.random
        )
        second = stream(data.looks["as it is"], usual, later[:WITHIN])
    else:
        later = rows[before:wanted]
        second = stream(data.looks[kind], data.probability[kind], later)
    return {name: np.concatenate([first[name], second[name]]) for name in first}


# --- methods: the image at which there is an alarm, or None ---------------------------------------


def e_detector(features: list[evidence.Feature], seen: Floats, random: Any) -> int | None:
    """Returns the alarm of the method of production."""
    watch = evidence.Watch(features, drift.ALARM)
    for start in range(0, seen.shape[1], A_DAY):
        values = seen[:, start : start + A_DAY]
        course = watch.add(values, random.random(values.shape))
        if watch.raised:
            return start + int(np.argmax(course >= drift.ALARM)) + 1
    return None


def one_martingale(features: list[evidence.Feature], seen: Floats, random: Any) -> int | None:
    """Returns the alarm of the same bets, all from the first image on, at 20."""
    wealth = np.zeros(seen.shape[1])
    families = [feature.family for feature in features]
    every = sum({feature.family: feature.weight for feature in features}.values())
    for feature, values in zip(features, seen, strict=True):
        ties = random.random(len(values))
        placed = (
            evidence.ranks(np.sort(feature.reference), values, ties) if feature.ranked else values
        )
        each = [np.exp(np.cumsum(bet(placed) / feature.design)) for bet in feature.bets]
        share = feature.weight / every / families.count(feature.family)
        wealth += share * np.mean(each, axis=0)
    above = wealth >= 20
    return int(np.argmax(above)) + 1 if above.any() else None


def test_a_day(features: list[evidence.Feature], seen: Floats, random: Any) -> int | None:
    """Returns the alarm of a test of each feature a day, on the images of that day."""
    ranked = [number for number, feature in enumerate(features) if feature.ranked]
    for start in range(0, seen.shape[1], A_DAY):
        today = seen[:, start : start + A_DAY]
        lowest = min(ks_2samp(features[n].reference, today[n]).pvalue for n in ranked)
        if lowest * len(ranked) < 0.05:
            return start + int(today.shape[1])
    return None


METHODS: dict[str, Callable[[list[evidence.Feature], Floats, Any], int | None]] = {
    "sum of bets from each day": e_detector,
    "one conformal martingale": one_martingale,
    "a test a day": test_a_day,
}
KINDS = ("colour cast", "blur", "another source", "doubled share of malignant")


def rates(
    data: Data, kind: str, share: float, before: int, months: int, method: str
) -> list[float]:
    """Returns at which image each month had an alarm, counted from the change; NaN for none."""
    random = np.random.default_rng(0)
    patients = random.permutation(np.unique(data.patient))
    apart = np.isin(data.patient, patients[: int(FOR_SPACE * len(patients))])
    made, left = space.fitted(data.looks["as it is"].pooled[apart]), np.flatnonzero(~apart)
    data = placed(data, made)
    found = []
    for number in range(months):
        now = month(data, left, share, [sum(map(ord, kind)), number])
        seen = changed(data, kind, share, before, now)
        values = np.stack([seen[feature.name] for feature in now.features])
        at = METHODS[method](now.features, values, now.random)
        found.append(float("nan") if at is None or at <= before else at - before)
    return found


def lines(data: Data, months: int, few: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yields each line of the table: its name, its text, and its figures."""
    best = next(iter(METHODS))
    cases = [(best, share) for share in SHARES]
    cases += [(method, SHARES[0]) for method in METHODS if method != best]
    for method, share in cases:
        main, name = (method, share) == cases[0], f"{method}, {share:.0%} malignant"
        count, changes = (months, few) if main else (few // 2, few // 2)
        alarms = np.isfinite(rates(data, "none", share, 0, count, method)).mean()
        yield f"{name}: no drift", f"{alarms:.1%} of {count} months had an alarm", {"none": alarms}
        for kind in KINDS if main else KINDS[-1:]:
            for before in (0, BEFORE):
                at = np.array(rates(data, kind, share, before, changes, method))
                noticed = float(np.isfinite(at).mean())
                middle = np.nanmedian(at) if noticed else float("nan")
                text = f"{noticed:.1%} of {changes} within {WITHIN} images, median {middle:.0f}"
                yield f"{name}: {kind} after {before}", text, {"noticed": noticed}


def main() -> None:
    """Simulates, and prints the table."""
    flags = parser(str(__doc__))
    flags.add_argument("--months", type=int, default=500, help="simulated months without drift")
    flags.add_argument("--few", type=int, default=100, help="simulations of each change")
    flags.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir(), "skin-bench-drift")
    )
    arguments = flags.parse_args()
    logging.disable(logging.INFO)
    data = prepared(
        arguments.data or SHARED / "data/kaggle/Melanoma-b584m584",
        SHARED / "data/isic2017",
        arguments.weights or SHARED / "weights/resnet50_notop.weights.h5",
        arguments.cache,
        SHARES[0],
    )
    began, auc = time.monotonic(), roc_auc_score(data.malignant, data.probability["as it is"])
    rows: list[tuple[str, str]] = [("AUC of the held-out probabilities", f"{auc:.3f}")]
    result: dict[str, Any] = {}
    for name, text, figures in lines(data, arguments.months, arguments.few):
        print(f"{name}: {text}", flush=True)
        rows.append((name, text))
        result[name] = figures
    print()
    report(rows, seconds=round(time.monotonic() - began), **result)


if __name__ == "__main__":
    main()
