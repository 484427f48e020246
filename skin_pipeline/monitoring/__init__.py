"""The room of monitoring: what a released model sees and says, day by day.

It takes in folders of new images and the labels that come back for them, and keeps a log of every
score. It gives scores as Parquet, and says whether the images, the scores or the figures have
moved away from those that the model was judged on. The DAGs, the pages and the command line call
it; no lower layer does.

The modules, in reading order:

    measures    of one image, from its pixels: colour, sharpness, exposure, vignette
    score_log   the rows of scored images: their columns, how they are written and read
    reference   what the images looked like that a version was judged on
    site_reference  the same at a site: the labelled images of its profile
    ledger      which images a version has scored, so that each is scored once
    chunks      scoring some of the images of a batch
    exporting   scores as a table for people
    scoring     a batch: planned, scored in chunks, merged into the log
    evidence    bets that images have changed, with few false alarms over time
    watched     what is watched of images, and its values in the reference
    wording     what moved, in words
    drift       whether the images that a version scores have moved away from its reference
    report      the reports on that, and whether retraining is asked for
    labels      labels that come back, from files to the images that were scored
    decisions   what a model decided on scored images, joined with these labels
    estimates   how good a model is in use, estimated without labels
    performance how good it is, measured by labels
    worsening   whether a version is worse in use than what it was released for

Importing the room imports none of them.
"""

# ruff: file-ignore[undefined-export] (they are modules, imported when they are used)
__all__ = [
    "chunks",
    "drift",
    "evidence",
    "exporting",
    "labels",
    "measures",
    "performance",
    "reference",
    "report",
    "score_log",
    "scoring",
    "watched",
    "worsening",
]
