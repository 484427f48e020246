"""Lineage of data and models as OpenLineage events: what each result was made from.

    skin_lineage.result(job, key, cost)            # each result of a step; see `Job.observe`
    skin_lineage.promoted(job, version, verdict)   # a version that became the champion

The events belong to the running task of Airflow and go where its OpenLineage provider sends its
own. The provider is optional (requirements-lineage.txt): without it, or without a transport in
`[openlineage]`, nothing is sent. Our digests are the versions of the data sets, and the checks of
the data are assertions on them.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skin_metrics import quietly

from skin_pipeline.foreign import guard, line, masked

if TYPE_CHECKING:
    from skin_pipeline.contracts import (
        Check,
        Cost,
        GateCheck,
        Shortcut,
    )
    from skin_pipeline.job import Job
    from skin_pipeline.storage import Store

log = logging.getLogger(__name__)
guard(__name__)

PROVIDER = "airflow.providers.openlineage"
# Results that are data sets of their own. Features are not: they are a cache.
SHOWN = ("ingest", "validate", "split", "train", "evaluate", "champion", "external", "gate")


def is_on() -> bool:
    """Returns whether the provider is installed and has somewhere to send events."""
    if not _installed():
        return False
    from airflow.providers.openlineage.api.core import is_openlineage_active

    return bool(is_openlineage_active())


def _installed() -> bool:
    try:
        return find_spec(PROVIDER) is not None
    except ModuleNotFoundError:  # without `airflow.providers`, too
        return False


@quietly
def result(job: Job, key: str, cost: Cost | None) -> None:
    """Sends what a result was made from.

    Args:
        job: The run.
        key: Key of the result.
        cost: What it took; None if it was found from an earlier run.
    """
    step = key.split("/")[0]
    if step not in SHOWN or not is_on():
        return
    proof = job.proven.prove(key).proof
    made_from = [of for of in (proof.made_from if proof else {}) if of.split("/")[0] in SHOWN]
    inputs = [_input(job, of, _assertions(job, key, of)) for of in sorted(made_from)]
    if step == "ingest":
        inputs.append(_source(job, key))
    _emit(inputs, [_output(job, key)])


@quietly
def promoted(job: Job, version: str, verdict: str) -> None:
    """Sends what a version of a model was made from: its verdict, its evaluation and its data.

    Args:
        job: The run.
        version: Key of the version.
        verdict: Key of the verdict that it was released by.
    """
    if not is_on():
        return
    from skin_pipeline.contracts import Evaluation, Verdict
    from skin_pipeline.release import MANIFEST
    from skin_pipeline.storage import digest

    judged = job.load(verdict, Verdict)
    dataset = job.load(judged.evaluation, Evaluation).dataset
    inputs = [
        _input(job, dataset, _assertions(job, judged.validation, dataset)),
        _input(job, judged.evaluation, _assertions(job, verdict, judged.evaluation)),
        _input(job, verdict, []),
    ]
    manifest = digest(job.store.read(f"{version}/{MANIFEST}"))
    name = f"{judged.released_as}/model"
    output = _dataset("OutputDataset", job.store, name, version.rpartition("/")[2], version)
    output.facets |= {"tags": _tags({"manifest_sha256": manifest})}
    _emit(inputs, [output])


@quietly
def scored(store: Store, key: str) -> None:
    """Sends that a version of a model made a batch of scores from images.

    Args:
        store: The store of the scores.
        key: Key of the `Batch`.
    """
    if not is_on():
        return
    from skin_pipeline.contracts import Batch, parse

    batch = parse(store.read(key), Batch, key)
    if not batch.scores:
        return
    namespace, name = _place(batch.source)
    images = _plain("InputDataset", namespace, name, batch.run)
    model = _dataset("InputDataset", store, f"{batch.model}/model", batch.version, "")
    scores = _dataset("OutputDataset", store, f"{batch.model}/scores", batch.run, batch.scores[0])
    scores.outputFacets = {"outputStatistics": _rows(batch.images + batch.unreadable)}
    _emit([images, model], [scores])


def _emit(inputs: list[Any], outputs: list[Any]) -> None:
    from airflow.providers.openlineage.api.datasets import emit_dataset_lineage

    emit_dataset_lineage(inputs=inputs, outputs=outputs)


# --- assertions -----------------------------------------------------------------------------------


def _assertions(job: Job, key: str, of: str) -> list[Any]:
    """Returns what a result asserts of another one that it was made from.

    The validation is about the data set, the split about the validated images, and the gate about
    the evaluation.
    """
    from skin_pipeline.contracts import Split, Validation, Verdict

    step, other = key.split("/")[0], of.split("/")[0]
    if step == "validate" and job.load(key, Validation).dataset == of:
        checked = job.load(key, Validation)
        return [*map(_of_check, checked.checks), *map(_of_shortcut, checked.shortcuts)]
    if step == "split" and other == "ingest":
        return list(map(_of_check, job.load(key, Split).checks))
    if step == "gate" and other == "evaluate":
        return list(map(_of_bound, job.load(key, Verdict).checks))
    return []


def _of_check(check: Check) -> Any:
    severity = {"critical": "error", "warning": "warn"}[check.severity]
    return _assertion(check.name, check.passed, severity, check.bound, check.observed)


def _of_shortcut(shortcut: Shortcut) -> Any:
    bound, observed = f"AUC at most {shortcut.bound:g}", f"AUC {shortcut.auc}"
    return _assertion(f"shortcut: {shortcut.name}", shortcut.passed, "warn", bound, observed)


def _of_bound(check: GateCheck) -> Any:
    return _assertion(check.name, check.passed, "error", check.bound, check.value)


def _assertion(name: str, passed: bool, severity: str, expected: str, actual: str) -> Any:
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    return quality.Assertion(
        line(name), passed, severity=severity, expected=line(expected), actual=line(actual)
    )


# --- data sets ------------------------------------------------------------------------------------


def _input(job: Job, key: str, assertions: list[Any]) -> Any:
    """Returns a result as an input of an event, with what was asserted of it."""
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    made = _of_result("InputDataset", job, key)
    if assertions:
        facet = quality.DataQualityAssertionsDatasetFacet(assertions=assertions)
        made.inputFacets = {"dataQualityAssertions": facet}
    return made


def _output(job: Job, key: str) -> Any:
    """Returns a result as the output of an event."""
    from skin_pipeline.contracts import Dataset

    made = _of_result("OutputDataset", job, key)
    if key.startswith("ingest/"):
        made.outputFacets = {"outputStatistics": _rows(job.load(key, Dataset).images)}
    return made


def _of_result(kind: str, job: Job, key: str) -> Any:
    """Returns a result as a data set, whose name is that of its step and stays the same."""
    step, _, address = key.partition("/")
    proof = job.proven.prove(key).proof
    content = _content(job, key)
    made = _dataset(kind, job.store, f"{job.settings.released_as}/{step}{content}", address, key)
    if proof:
        made.facets |= {"tags": _tags({"sha256": proof.result, **_digest_of(job, key)})}
    return made


def _content(job: Job, key: str) -> str:
    """Returns what tells the results of a step apart that are made in one run; "" for nothing."""
    from skin_pipeline.contracts import Scored, TrainedRun

    step = key.split("/")[0]
    if step == "train":
        return f"/{job.load(key, TrainedRun).run}"
    return f"/{job.load(key, Scored).name}" if step == "external" else ""


def _digest_of(job: Job, key: str) -> dict[str, str]:
    from skin_pipeline.contracts import Dataset

    if not key.startswith("ingest/"):
        return {}
    return {"content_digest": job.load(key, Dataset).content_digest}


def _source(job: Job, key: str) -> Any:
    """Returns where the images of a data set came from."""
    from skin_pipeline.contracts import Dataset

    dataset = job.load(key, Dataset)
    namespace, name = _place(dataset.source)
    return _plain("InputDataset", namespace, name, dataset.content_digest)


def _place(source: str) -> tuple[str, str]:
    """Returns namespace and name of images outside the store, without logins."""
    from skin_pipeline.config import DEMO

    parts = urlsplit(masked(source))
    if parts.scheme and parts.netloc:
        return f"{parts.scheme}://{_host(parts.netloc)}", parts.path.strip("/") or "/"
    return ("synthetic" if source == DEMO else "file"), masked(source)


def _host(place: str) -> str:
    """Returns the host or the bucket of an address, without a login."""
    return place.rpartition("@")[2]


def _dataset(kind: str, store: Store, name: str, version: str, key: str) -> Any:
    """Returns an object of the store as a data set; a symlink says under which key it is."""
    from openlineage.client.facet_v2 import symlinks_dataset as symlinks

    namespace = _namespace(store)
    made = _plain(kind, namespace, name, version)
    if key:
        found = symlinks.Identifier(namespace=namespace, name=key, type="LOCATION")
        made.facets |= {"symlinks": symlinks.SymlinksDatasetFacet(identifiers=[found])}
    return made


def _namespace(store: Store) -> str:
    """Returns the address of a store without a login."""
    parts = urlsplit(masked(store.url))
    return f"{parts.scheme}://{_host(parts.netloc)}{parts.path}".rstrip("/")


def _plain(kind: str, namespace: str, name: str, version: str) -> Any:
    from openlineage.client import event_v2
    from openlineage.client.facet_v2 import dataset_version_dataset as versions

    facet = versions.DatasetVersionDatasetFacet(datasetVersion=version)
    return getattr(event_v2, kind)(namespace=namespace, name=name, facets={"version": facet})


def _rows(count: int) -> Any:
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    return statistics.OutputStatisticsOutputDatasetFacet(rowCount=count)


def _tags(values: dict[str, str]) -> Any:
    from openlineage.client.facet_v2 import tags_dataset as tags

    fields = [
        tags.TagsDatasetFacetFields(key=key, value=value, source="skin_pipeline")
        for key, value in values.items()
    ]
    return tags.TagsDatasetFacet(tags=fields)
