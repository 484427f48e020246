"""Every knob once: its type, bounds, default and description.

Takes in the environment (`SKIN_<NAME>`), a trigger form or the flags of a command line. Gives
`Settings`, the knobs of one run, and `Deployment`, the installation's: both frozen and checked.
Airflow's trigger form, the flags of the command line and docs/settings.md are made from them, so
that a knob is described in one place. Every room and every entry point may call it.

    settings = read_settings({"data": "demo", "weights": "none"})   # BadInput names what is wrong
    deployment = read_deployment()                                  # from the environment only

In reading order:

- `environment`: the base of both, and what blanks, empty values, lists and secrets in them mean
- `knobs`: how a field of `Settings` is declared
- `data`, `training`, `judging`: the knobs by section
- `settings`: what all of them are together
- `operations`: schedules, approval, budget, scoring and monitoring of an installation
- `pods`: what the pod of a step is given
- `placement`: the queue, the executor and the pod of each step
- `deployment`: where and how the pipeline is installed
- `reading`: both from outside, with errors that name what was received
- `form`: the schema of Airflow's trigger form
- `tables`: the tables of docs/settings.md
"""

from skin_pipeline.config.data import DEMO, REGIONS, SYNTHETIC
from skin_pipeline.config.deployment import Deployment, threads
from skin_pipeline.config.environment import ENV_PREFIX, may_be_empty, parts
from skin_pipeline.config.form import form_schema, range_of, with_blanks
from skin_pipeline.config.judging import ThresholdBy
from skin_pipeline.config.knobs import FIRST
from skin_pipeline.config.operations import retraining
from skin_pipeline.config.placement import placement, pod_of
from skin_pipeline.config.pods import Pod
from skin_pipeline.config.reading import no_setting, read_deployment, read_settings
from skin_pipeline.config.settings import Settings
from skin_pipeline.config.tables import settings_tables, with_part, write_tables
from skin_pipeline.config.training import CORRUPTIONS

__all__ = [
    "CORRUPTIONS",
    "DEMO",
    "ENV_PREFIX",
    "FIRST",
    "REGIONS",
    "SYNTHETIC",
    "Deployment",
    "Pod",
    "Settings",
    "ThresholdBy",
    "form_schema",
    "may_be_empty",
    "no_setting",
    "parts",
    "placement",
    "pod_of",
    "range_of",
    "read_deployment",
    "read_settings",
    "retraining",
    "settings_tables",
    "threads",
    "with_blanks",
    "with_part",
    "write_tables",
]
