"""The command line: each step, or all of them in turn, without Airflow.

```
python -m skin_pipeline run --data FOLDER --weights FILE
python -m skin_pipeline predict FOLDER --output scores.csv
python -m skin_pipeline score s3://clinic/new --site clinic
python -m skin_pipeline site make skin-resnet50 clinic s3://clinic/labelled
python -m skin_pipeline labels s3://clinic/labels
python -m skin_pipeline table split/4f1a… --out images.csv
python -m skin_pipeline plan --images 100000 --workers 8
python -m skin_pipeline settings
python -m skin_pipeline models list
```
"""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from skin_pipeline import journal, sharding, steps
from skin_pipeline.config import (
    ENV_PREFIX,
    Deployment,
    Settings,
    form_schema,
    no_setting,
    read_deployment,
    read_settings,
    settings_tables,
    write_tables,
)
from skin_pipeline.contracts import Verdict
from skin_pipeline.errors import BadInput, PipelineError, Rejected
from skin_pipeline.flags import (
    add_knobs,
    add_labels,
    add_plan,
    add_predict,
    add_score,
    add_scores,
)
from skin_pipeline.foreign import line
from skin_pipeline.job import Job
from skin_pipeline.operations import site_commands, sizing
from skin_pipeline.progress import at_terminal
from skin_pipeline.release import Registry
from skin_pipeline.release import commands as models
from skin_pipeline.roots import Roots
from skin_pipeline.storage import Store, open_store

DONE, FAILED, REFUSED = 0, 1, 3


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns 0 when done, 1 when it failed, 3 when the gate refused."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    flags = vars(_flags(arguments))
    try:
        with at_terminal():
            return _run(flags.pop("command"), flags.pop("arguments", []), flags)
    except Rejected as verdict:
        print(f"Refused: {verdict}", file=sys.stderr)
        return REFUSED
    except (PipelineError, TypeError) as error:
        print(f"{type(error).__name__}: {line(error)}", file=sys.stderr)
        return FAILED


def _run(command: str, positional: list[str], flags: dict[str, Any]) -> int:
    if command == "settings":
        return _settings(**flags)
    if command == "plan":
        return _plan(**flags)
    if command == "models":
        deployment = read_deployment()
        text = models.run(Registry.of(store_of(deployment), deployment), **flags)
        # What is read from the store may contain text of others.
        print("\n".join(map(line, text.split("\n"))))
        return DONE
    if command in _SCORING:
        return _SCORING[command](**flags)
    return _run_step(command, positional, flags)


def _flags(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the parsed command line; ends the program at an unknown flag."""
    parser = _parser()
    flags, unknown = parser.parse_known_args(arguments)
    problems = [part.partition("=")[0] for part in unknown]
    if flags.command in {"run", *_ARGUMENTS}:  # the commands that take settings
        knobs = [f"--{knob.replace('_', '-')}" for knob in form_schema()]
        named = (name for name in problems if name.startswith("--"))
        problems = [no_setting(name, knobs) for name in named] or problems
    if problems:
        parser.error(f"not understood: {'; '.join(problems)}")
    return flags


def _settings(write: Path | None) -> int:
    """Prints the tables of all settings, or writes them between the marks of a page."""
    if write:
        write_tables(write)
    else:
        print(settings_tables())
    return DONE


def _plan(images: int, workers: int, cores: int, gpus: int, **knobs: Any) -> int:
    """Prints what a run of a size is expected to take."""
    given = {name: value for name, value in knobs.items() if value is not None}
    sizes = {"images": images, "workers": workers, "cores": cores, "gpus": gpus}
    print(sizing.plan(read_settings(given), **sizes).in_words())
    return DONE


def store_of(deployment: Deployment) -> Store:
    """Opens the store outside Airflow: credentials come from the environment."""
    return open_store(
        deployment.store,
        endpoint=deployment.s3_endpoint,
        cache=Path(deployment.cache) if deployment.cache else None,
        cache_bytes=deployment.cache_bytes,
        writing=deployment.s3_writing,
    )


def job_of(settings: Settings, deployment: Deployment) -> Job:
    """Returns a job outside Airflow: credentials come from the environment."""
    kaggle_endpoint = os.environ.get(f"{ENV_PREFIX}KAGGLE_ENDPOINT", "")
    roots = Roots.of(deployment, by_others=False)
    return Job(
        settings, deployment, store_of(deployment), kaggle_endpoint=kaggle_endpoint, roots=roots
    )


def _run_step(command: str, positional: list[str], flags: dict[str, Any]) -> int:
    given = {name: value for name, value in flags.items() if value is not None}
    job = job_of(read_settings(given), read_deployment())
    if command == "run":
        return run_all(job)
    print(_STEPS[command](job, *positional))
    return DONE


def run_all(job: Job) -> int:
    """Runs every step in turn, in this process; returns the exit status."""
    dataset, weights, external = steps.ingest(job)
    weights = steps.engine(job, dataset, weights)
    validation = steps.validate(job, dataset, external)
    split = steps.split(job, validation)
    features = [
        steps.features(job, split, weights, shard) for shard in sharding.numbers(job, dataset)
    ]
    index = steps.index(job, features)
    trained = [steps.train(job, split, index, run) for run in range(job.settings.runs)]
    evaluation = steps.evaluate(job, split, trained, validation)
    scores = steps.champion(job, split), steps.external(job, evaluation, validation)
    key = steps.gate(job, evaluation, validation, *scores)
    verdict = job.load(key, Verdict)
    print(f"Report: {job.store.link(verdict.report)}")
    if not verdict.approved:
        steps.reject(job, key)
        raise Rejected("; ".join(verdict.reasons))
    version = steps.promote(job, key)
    unchanged = journal.changed_nothing(job.store, job.run_id)
    word = "Nothing changed, the champion is still" if unchanged else "Promoted"
    print(f"{word}: {job.store.link(version)}")
    return DONE


def _predict(images: list[str], **given: Any) -> int:
    """Scores images; returns `FAILED` if none of them could be read."""
    from skin_pipeline.release import scores

    job = job_of(read_settings({}), read_deployment())
    counts = scores.score(job, images, **given)
    if counts.unreadable:
        print(f"{counts.unreadable} of {counts.images} images have no score", file=sys.stderr)
    return DONE if counts.unreadable < counts.images else FAILED


def _score(source: str, model: str, alias: str, site: str) -> int:
    """Scores what is new in a source, as `skin_scoring` does, but in this process."""
    from skin_pipeline.monitoring import scoring

    job = _apart()
    request = scoring.Request(model or job.settings.released_as, alias, source, site)
    batch = scoring.plan(job, request)
    for chunk in scoring.chunks_of(job, batch):
        scoring.score(job, chunk)
    told = scoring.merge(job, batch)
    print(told.words)
    if told.batch:
        print(f"Batch {job.run_id}: {job.store.link(told.batch)}")
    return DONE


def _scores(model: str, batch: str, since: str, out: Path) -> int:
    """Writes the scores of batches to a table."""
    from skin_pipeline.monitoring import exporting

    rows = exporting.export(store_of(read_deployment()), model, out, batch=batch, since=since)
    print(f"{rows} rows written to {out}")
    return DONE


def _table(key: str, out: Path) -> int:
    """Writes the table of a result to a CSV."""
    from skin_pipeline.data import exporting

    rows = exporting.export(job_of(read_settings({}), read_deployment()).store, key, out)
    print(f"{rows} rows written to {out}")
    return DONE


def _labels(source: str, model: str) -> int:
    """Reads labels that came back, as `skin_labels` does, but in this process."""
    from skin_pipeline.operations import labelling

    job, by = _apart(), getpass.getuser()
    print(labelling.bring_back(job, source, model or job.settings.released_as, by=by).words)
    return DONE


def _site(**given: Any) -> int:
    """Makes, lists or shows profiles of sites."""
    text = site_commands.run(_apart(), **given)
    print("\n".join(map(line, text.split("\n"))))
    return DONE


def _apart() -> Job:
    """Returns a job whose run has a name of its own: another batch or action than the last one."""
    job = job_of(read_settings({}), read_deployment())
    return replace(job, run_id=f"command-line-{uuid4().hex[:12]}")


_SCORING: dict[str, Callable[..., int]] = {
    "predict": _predict,
    "score": _score,
    "scores": _scores,
    "labels": _labels,
    "site": _site,
    "table": _table,
}


def _ingest(job: Job) -> str:
    dataset, weights, external = steps.ingest(job)
    return "\n".join((dataset, weights, *(f"{name}={key}" for name, key in external.items())))


def _validate(job: Job, dataset: str, *external: str) -> str:
    sets = {}
    for item in external:
        name, equals, key = item.partition("=")
        if not equals:
            raise BadInput(f"an external set is given as NAME=KEY. Received: {item!r}")
        sets[name] = key
    return steps.validate(job, dataset, sets)


def _logits(job: Job, split: str, shards: str, *trained: str) -> str:
    return steps.logits(job, split, trained, [int(shard) for shard in shards.split(",")])


def _evaluate(job: Job, split: str, validation: str, *trained: str) -> str:
    return steps.evaluate(job, split, trained, validation)


def _champion(job: Job, split: str) -> str:
    return steps.champion(job, split) or "There is no champion yet."


def _external(job: Job, evaluation: str, validation: str) -> str:
    return "\n".join(steps.external(job, evaluation, validation))


def _gate(job: Job, evaluation: str, validation: str, *scores: str) -> str:
    champions = [key for key in scores if key.startswith("champion/")]
    external = [key for key in scores if key not in champions]
    return steps.gate(job, evaluation, validation, "".join(champions[:1]), external)


_STEPS: dict[str, Callable[..., Any]] = {
    "ingest": _ingest,
    "engine": steps.engine,
    "duplicates": lambda job, ours, other, number: steps.duplicates(job, ours, other, int(number)),
    "validate": _validate,
    "split": steps.split,
    "features": lambda job, split, weights, shard: steps.features(job, split, weights, int(shard)),
    "index": lambda job, *features: steps.index(job, features),
    "train": lambda job, split, run, index: steps.train(job, split, index, int(run)),
    "logits": _logits,
    "evaluate": _evaluate,
    "champion": _champion,
    "external": _external,
    "gate": _gate,
    "promote": steps.promote,
    "reject": steps.reject,
}
_ARGUMENTS = {
    "ingest": "",
    "engine": "DATASET WEIGHTS",
    "duplicates": "DATASET OTHER BUCKET",
    "validate": "DATASET [NAME=DATASET…]",
    "split": "VALIDATION",
    "features": "SPLIT WEIGHTS SHARD",
    "index": "FEATURES…",
    "train": "SPLIT RUN INDEX",
    "logits": "SPLIT SHARD,SHARD… TRAINED…",
    "evaluate": "SPLIT VALIDATION TRAINED…",
    "champion": "SPLIT",
    "external": "EVALUATION VALIDATION",
    "gate": "EVALUATION VALIDATION [CHAMPION] [EXTERNAL…]",
    "promote": "VERDICT",
    "reject": "VERDICT",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m skin_pipeline")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "settings", help="print the tables of all settings, as in docs/settings.md"
    ).add_argument("--write", type=Path, metavar="PAGE", help="write them to a page instead")
    models.add_to(
        commands.add_parser("models", help="list, verify, sign, roll back and prune versions")
    )
    add_knobs(commands.add_parser("run", help="all steps in turn"))
    add_plan(commands.add_parser("plan", help="say what a run of any size is expected to take"))
    add_predict(commands.add_parser("predict", help="score images with a promoted model"))
    add_score(commands.add_parser("score", help="score what is new in a folder or bucket, once"))
    add_scores(commands.add_parser("scores", help="write the scores of batches to a table"))
    site_commands.add_to(commands.add_parser("site", help="make, list and show profiles of sites"))
    add_labels(commands.add_parser("labels", help="read labels that came back for scored images"))
    table = commands.add_parser("table", help="write the table of a result to a CSV")
    table.add_argument("key", metavar="KEY", help="of an ingest, validate or split, or of a table")
    table.add_argument("--out", type=Path, required=True, help="the CSV file")
    knobs = argparse.ArgumentParser(add_help=False)
    add_knobs(knobs)  # once for all steps: describing the settings takes a while
    for name, wants in _ARGUMENTS.items():
        step = getattr(steps, name)
        about = str(step.__doc__).splitlines()[0]
        command = commands.add_parser(name, help=about, parents=[knobs])
        command.add_argument(
            "arguments", nargs="*", metavar=wants or "", help="keys that earlier steps printed"
        )
    return parser
