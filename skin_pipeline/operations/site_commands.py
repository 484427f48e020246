"""The commands `site …`, by which an operator makes and reads profiles of sites.

```
python -m skin_pipeline site make skin-resnet50 clinic-b s3://clinic-b/labelled
python -m skin_pipeline site show skin-resnet50 clinic-b
```
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from typing import Any, get_args

from skin_pipeline.config import ThresholdBy
from skin_pipeline.contracts import CHAMPION
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job

_HELP = {
    "make": "make the profile of a site from labelled images of it (50 to 200 are usual)",
    "list": "the sites that have a profile for a version",
    "show": "the profile of a site in words, and those that it replaced",
}


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the commands to the parser of `site`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    for name, text in _HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("model", metavar="MODEL")
        if name != "list":
            command.add_argument("site", metavar="SITE", help="a name of yours, such as clinic-b")
        if name == "make":
            _add_make(command)
        command.add_argument(
            "--version", default=CHAMPION, help="a version or an alias. Default: champion."
        )


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="IMAGES",
        help="a folder or zip of labelled images, kaggle://OWNER/NAME, or s3://BUCKET/PREFIX",
    )
    parser.add_argument(
        "--target-sensitivity",
        type=float,
        dest="sensitivity",
        help="to be reached there. Default: what the version was made for.",
    )
    parser.add_argument(
        "--threshold-by",
        dest="by",
        choices=get_args(ThresholdBy),
        help="what must reach it. Default: as the version was made.",
    )
    parser.add_argument(
        "--width",
        type=float,
        default=0.05,
        help="to which sensitivity and specificity should be known, in both directions; what "
        "that takes is told. Default: 0.05.",
    )


def run(job: Job, action: str, **arguments: Any) -> str:
    """Runs a command. Returns the text that it prints.

    Raises:
        BadInput, Unavailable: As making or reading a profile does.
    """
    return _ACTIONS[action](job, **arguments)


def _make(job: Job, **asked: Any) -> str:
    from skin_pipeline.operations import siting
    from skin_pipeline.release import sites

    made = siting.make(job, siting.Request(**asked), by=getpass.getuser())
    return "\n".join(sites.described(made))


def _list(job: Job, model: str, version: str) -> str:
    from skin_pipeline.release import sites

    known = _profiles(job, model, version)
    names = known.sites()
    if not names:
        return f"Version {known.version} of {model} has no profile of any site."
    return _aligned(sites.table([known.newest(name) for name in names]))


def _show(job: Job, model: str, site: str, version: str) -> str:
    from skin_pipeline.release import sites

    known = _profiles(job, model, version)
    newest = known.newest(site)  # names the known ones if there is none
    parts = [*sites.described(newest), "", _aligned(sites.table(list(known.history(site))))]
    return "\n".join(parts)


def _profiles(job: Job, model: str, version: str) -> Any:
    """Returns the profiles of a version; refuses a version that is not there."""
    from skin_pipeline.release import Registry, predict, sites

    registry = Registry.of(job.store, job.deployment)
    if model not in registry.models():
        known = ", ".join(registry.models()) or "none"
        raise BadInput(f"there is no model {model} in {job.store.url}. There are: {known}")
    found = registry.model(model)
    name = predict.named(found, version)
    found.release(name)
    return sites.Profiles.of(found, name)


_ACTIONS: dict[str, Callable[..., str]] = {"make": _make, "list": _list, "show": _show}


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
