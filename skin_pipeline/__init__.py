"""Skin-cancer screening models, from dermoscopic images to a judged release.

A map of the package. The rooms, in the order in which the data passes through them:

    data         images from anywhere: fetched, decoded once, checked, split without leaks
    training     features of the frozen trunk, and six runs that are trained on them
    model_file   how `model.keras` is put together, opened without trusting it, and tried
    evaluation   scores, figures with intervals, the gate's verdict, report and model card
    release      versions, the aliases that name them, the history of their moves, prediction

The layers below them, from top to bottom:

    steps        the door: each step, what its result is made from, the call that makes it
    job          Job, one workflow run as the steps see it; Work, the making of one result
    journal      what a workflow run has made so far
    sandbox      processes that give up their rights before they read what others made
    provenance   proofs of what a result was made from, and signatures
    contracts    the documents that pass between steps
    config       every setting once
    storage      a folder or S3: one place for all bytes

Each room's `__init__` says what the room takes in and gives, and lists the names that others may
use; docs/architecture.md has the rules. Airflow (`dags/`), the command line and the tests call the
same steps; nothing in here imports Airflow.

Settings are checked where they come in, and name what is wrong:

    >>> from skin_pipeline.config import read_settings
    >>> read_settings({"data": "demo", "weights": "none", "image_size": " 96 "}).image_size
    96
    >>> read_settings({"imagesize": "96"})
    Traceback (most recent call last):
    skin_pipeline.errors.BadInput: imagesize is no setting; the nearest is image_size...

The models in a store are reached through its registry. The keys, which say what must be signed, are
given once:

    >>> from skin_pipeline.provenance import SigningKeys
    >>> from skin_pipeline.release import Registry
    >>> model = Registry(store, SigningKeys()).model("skin")
    >>> model.champion.number
    2
    >>> model.champion.previous in model.versions()
    True
"""

from skin_pipeline.foreign import guard

__version__ = "0.1.0"

guard(__name__)  # records of every logger in here: one line, and no secrets
