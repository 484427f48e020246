"""The room of releases: what becomes of a judged model.

It takes in verdicts and the results that they were made from, and keeps immutable versions of
models, the aliases that name them (`champion` above all) with the history of every move, and the
judgements of all runs. It gives the version that an alias names: to the next run, which compares
its model with the champion, to `predict`, to operators and to the web pages. The steps, the command
line, the DAGs and the plugins call it; no lower layer does.

All of them use one object, which is opened with the keys that say what must be signed:

    Registry.of(store, read_deployment()).model("skin-resnet50").champion

The modules, in reading order:

    registry   Registry, Model: the objects through which the others are used
    versions   a version: its files, its manifest, its signature, its publication
    pointers   an alias, and the documents of its moves: read, chained, signed
    trust      whether a pointer may be used
    seen       the newest move of each alias that this machine has seen, to notice an older one
    aliases    moving an alias
    history    verifying the history of an alias: what is missing, changed or invented
    rollback   making an alias name again what it named before
    eligible   which versions may become the champion, by a run or by hand
    approvals  a person's decisions on verdicts: when one is needed, signed, checked
    pruning    removing old versions
    tasks      the work of the steps `champion`, `promote` and `reject`
    chain      checking all that a verdict is made from, down to the images, before a release
    commands   `models …` on the command line
    sites      profiles of sites: a version on images of another clinic
    deciding   what a version says of an image: its probability and label, or `unsure`
    predict    the probabilities of images by a model
    site_making  a profile of a site from labelled images
    scores     a table of them, for the command `predict`

`tasks`, `chain`, `commands`, `predict`, `scores`, `sites` and `site_making` are handed on as
modules and not imported here: their imports are slow, or only the command line needs them.
"""

from typing import TYPE_CHECKING

from skin_pipeline.release.approvals import Approvals, Request, Rule
from skin_pipeline.release.pointers import ALIAS_PATTERN, Document
from skin_pipeline.release.registry import Model, Registry, Unverified
from skin_pipeline.release.rollback import PREVIOUS, Rollback
from skin_pipeline.release.versions import MANIFEST, MODEL_FILE, version_key

if TYPE_CHECKING:
    from skin_pipeline.release import chain, commands, predict, scores, site_making, sites, tasks

__all__ = [
    "ALIAS_PATTERN",
    "MANIFEST",
    "MODEL_FILE",
    "PREVIOUS",
    "Approvals",
    "Document",
    "Model",
    "Registry",
    "Request",
    "Rollback",
    "Rule",
    "Unverified",
    "chain",
    "commands",
    "predict",
    "scores",
    "site_making",
    "sites",
    "tasks",
    "version_key",
]
