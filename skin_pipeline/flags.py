"""The flags of the command line, for the commands that have more than keys as arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

from skin_pipeline.config import form_schema
from skin_pipeline.contracts import CHAMPION


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `plan`."""
    parser.add_argument("--images", type=int, required=True, help="the number of images")
    parser.add_argument("--workers", type=int, default=1, help="machines that compute. Default: 1.")
    parser.add_argument("--cores", type=int, default=2, help="cores of each. Default: 2.")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each. Default: none.")
    add_knobs(parser)


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `predict`."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGES",
        help="an image, a folder or zip of images, s3://BUCKET/PREFIX, or @FILE with one of these "
        "in each line",
    )
    parser.add_argument(
        "--model",
        default="champion",
        help="a version, an alias, or a .keras file beside its manifest.json. Default: champion.",
    )
    parser.add_argument(
        "--model-name", default="", help="name of the model. Default: what a run would release to."
    )
    add_site(parser)
    parser.add_argument(
        "--output", type=Path, help="a .csv or .parquet file. Default: CSV to the standard output."
    )


def add_score(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `score`."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a folder or zip of images, or s3://BUCKET/PREFIX"
    )
    parser.add_argument(
        "--model", default="", help="name of the model. Default: what a run would release to."
    )
    parser.add_argument(
        "--alias", default=CHAMPION, help="an alias or a version. Default: champion"
    )
    add_site(parser)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `labels`."""
    parser.add_argument("source", help="a file of labels, a folder of them, or s3://BUCKET/PREFIX")
    parser.add_argument(
        "--model", default="", help="the model that scored. Default: what a run would release to."
    )


def add_scores(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `scores`."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--batch", default="", metavar="RUN", help="only the batch of this run")
    parser.add_argument(
        "--since",
        default="",
        metavar="TIME",
        help="only batches that began then or later: an ISO "
        "time in UTC, such as 2026-11-26 or 2026-11-26T08:00",
    )
    parser.add_argument("--out", type=Path, required=True, help="a .csv or .parquet file")


def add_knobs(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each setting of a run."""
    for name, schema in form_schema().items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            help=f"{schema['description']} Default: {schema['default']}.".replace("%", "%%"),
        )


def add_site(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that names the site of the images."""
    parser.add_argument(
        "--site",
        default="",
        help="the site that the images are from, whose profile has the threshold. Default: none.",
    )
