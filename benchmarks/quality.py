"""How good the whole procedure is, by cross-validation over groups and on the test set.

Each fold's images are held out once as a test set; six runs resample the rest, and their ensemble,
with the threshold that it set on its validation images, is judged on the fold: the workflow's own
steps, with another test set. Figures are of all folds together, intervals from a bootstrap over
groups. `specificity_at_84` reads the ROC curve at the original's sensitivity; `within_stratum_auc`
compares only images of one original size, so that the size cannot help.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from measuring import folder_of, parser, report
from sklearn.model_selection import StratifiedGroupKFold
from workflow import Workflow

from skin_pipeline import sharding, steps, tables
from skin_pipeline.contracts import RESULT, Evaluation, Split, dump, load
from skin_pipeline.data import manifest, splitting
from skin_pipeline.intervals import auc
from skin_pipeline.job import Job

ORIGINAL_SENSITIVITY = 0.84
RESAMPLES = 1000


def fold_split(job: Job, split: str, number: int, test: pd.Series) -> str:
    """Puts a split with this test set into the store; returns its key."""
    document = load(job.store, split, Split)
    table = manifest.read(job.store, document.table)
    test = test.reindex(table.index, fill_value=False)
    rest = table["readable"].astype(bool) & ~test
    knobs = job.settings.subset("runs", "validation_fraction", "balance", "seed")
    table = splitting.assigned(table, test, rest, **knobs)
    key = f"split/fold-{number}"
    made = document.model_copy(
        update={"table": tables.write(job.store, f"{key}/manifest.parquet", table)}
    )
    job.store.put(f"{key}/{RESULT}", dump(made))
    return key


class Prepared(NamedTuple):
    """What every fold is made from: keys, and the table of readable images."""

    validation: str
    split: str
    features: str
    table: pd.DataFrame


def judged(job: Job, split: str, work: Prepared) -> tuple[pd.DataFrame, Evaluation]:
    """Trains and judges six runs on a split; returns the test images' scores."""
    trained = [steps.train(job, split, work.features, run) for run in range(job.settings.runs)]
    seen = load(job.store, steps.evaluate(job, split, trained, work.validation), Evaluation)
    table = pd.read_csv(job.store.local(seen.predictions))
    table = table[table["test"]].assign(threshold=seen.threshold)
    return table, seen


def specificity_at(scores: pd.DataFrame) -> float:
    """Returns the specificity where the original's share of malignant images is found."""
    malignant = np.sort(scores.loc[scores["malignant"], "logit"])[::-1]
    threshold = malignant[int(np.ceil(ORIGINAL_SENSITIVITY * len(malignant))) - 1]
    return float((scores.loc[~scores["malignant"], "logit"] < threshold).mean())


def within_stratum_auc(scores: pd.DataFrame) -> float:
    """Returns the AUC over pairs of images of one original size."""
    won = pairs = 0.0
    for _, rows in scores.groupby(["width", "height"]):
        count = rows["malignant"].sum() * (~rows["malignant"]).sum()
        if count:
            won += count * auc(rows["logit"].to_numpy(), rows["malignant"].to_numpy(np.int64))
            pairs += count
    return won / pairs if pairs else float("nan")


FIGURES: dict[str, Callable[[pd.DataFrame], float]] = {
    "accuracy": lambda s: float((s["called"] == s["malignant"]).mean()),
    "accuracy_at_half": lambda s: float(((s["probability"] >= 0.5) == s["malignant"]).mean()),
    "auc": lambda s: auc(s["logit"].to_numpy(), s["malignant"].to_numpy(np.int64)),
    "sensitivity": lambda s: float(s.loc[s["malignant"], "called"].mean()),
    "specificity": lambda s: float(1 - s.loc[~s["malignant"], "called"].mean()),
    "specificity_at_84": specificity_at,
    "within_stratum_auc": within_stratum_auc,
}


def figures(scores: pd.DataFrame) -> dict[str, float]:
    """Returns every figure with the ends of its interval."""
    random = np.random.default_rng(0)
    groups = [rows for _, rows in scores.groupby("group")]
    drawn: dict[str, list[float]] = {name: [] for name in FIGURES}
    for _ in range(RESAMPLES):
        chosen = random.integers(len(groups), size=len(groups))
        sample = pd.concat([groups[i] for i in chosen])
        for name, figure in FIGURES.items():
            drawn[name].append(figure(sample))
    result = {}
    for name, figure in FIGURES.items():
        low, high = np.nanquantile(drawn[name], [0.025, 0.975])
        ends = {name: figure(scores), f"{name}_low": low, f"{name}_high": high}
        result.update({key: round(float(value), 4) for key, value in ends.items()})
    return result


def prepared(job: Job) -> Prepared:
    """Runs everything that comes before training."""
    dataset, weights, external = steps.ingest(job)
    weights = steps.engine(job, dataset, weights)
    validation = steps.validate(job, dataset, external)
    split = steps.split(job, validation)
    shards = sharding.numbers(job, dataset)
    features = [steps.features(job, split, weights, shard) for shard in shards]
    table = manifest.read(job.store, load(job.store, split, Split).table)
    return Prepared(validation, split, steps.index(job, features), table[table["readable"]])


def main() -> None:
    """Measures both sides and reports the figure."""
    flags = parser(str(__doc__))
    flags.add_argument("--strategy", default="head")
    flags.add_argument("--folds", type=int, default=5)
    flags.add_argument("--store", type=Path, help="keep results here, and go on from them")
    arguments = flags.parse_args()
    logging.disable(logging.INFO)
    with folder_of(arguments.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        place = arguments.store or Path(scratch)
        job = Workflow.on(place, data, arguments.weights, strategy=arguments.strategy).job
        work = prepared(job)
        _, on_test = judged(job, work.split, work)
        table = work.table
        folds = StratifiedGroupKFold(arguments.folds, shuffle=True, random_state=0)
        parts: list[Any] = []
        for number, (_, held_out) in enumerate(folds.split(table, table["label"], table["group"])):
            test = pd.Series(True, index=table.index[held_out])
            parts.append(judged(job, fold_split(job, work.split, number, test), work)[0])
            print(f"fold {number}: AUC {fold_auc(parts[-1]):.3f}", flush=True)
    scores = pd.concat(parts).merge(table[["key", "width", "height"]], on="key")
    result = figures(with_calls(scores))
    rows = [
        (key, f"{value:.3f} [{result[f'{key}_low']:.3f}, {result[f'{key}_high']:.3f}]")
        for key, value in result.items()
        if key in FIGURES
    ]
    tested = {"test_accuracy": on_test.ensemble.accuracy, "test_auc": on_test.ensemble.auc}
    rows += [(key, str(interval)) for key, interval in tested.items()]
    ends = {
        f"{key}{end}": round(value, 4)
        for key, interval in tested.items()
        for end, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high))
    }
    report(
        rows,
        name="quality",
        value=result["accuracy"],
        unit="share",
        against="the original: .745 accuracy, specificity .649 at sensitivity .841, leaky splits",
        strategy=arguments.strategy,
        folds=arguments.folds,
        data=name,
        **result,
        **ends,
    )


def with_calls(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores with labels and predictions as booleans, each fold at its own
    threshold."""
    return scores.assign(
        malignant=scores["label"] == "malignant",
        called=scores["probability"] >= scores["threshold"],
        logit=np.log(scores["probability"] / (1 - scores["probability"])),
    )


def fold_auc(scores: pd.DataFrame) -> float:
    """Returns the AUC of one fold."""
    labels = np.asarray(scores["label"] == "malignant", dtype=np.int64)
    return auc(scores["probability"].to_numpy(), labels)


if __name__ == "__main__":
    main()
