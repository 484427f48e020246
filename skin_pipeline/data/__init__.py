"""From where the images are to a table, packed shards and leak-free splits.

Takes in a source (a folder, a zip, a Kaggle data set, a bucket), the tables beside the images, and
the settings that say what these mean. Gives the data set, its validation and its split. The door
(`skin_pipeline.steps`) calls `tasks`; rooms above use the modules in `__all__`, and no others.

In reading order:

    kinds           what a file is, by its name or its first bytes
    sources         from a source to images and their classes
    foreign_tables  reads the tables that people bring
    metadata        what these tables say about the images
    label_files     reads files of labels that came back for scored images
    returned        these labels, kept and looked up; and as a part of the next data set
    disk            files that appear whole or not at all
    demo            a generator of synthetic lesions
    fetching        what a data set is made from, before anything is decoded
    layout          into which shards and ranges the images of a data set are divided
    ingesting       makes a data set in one piece, or from ranges that several workers decode
    listing         the tables that say which images each range has
    tasks           makes the results of `decode`, `ingest`, `validate` and `split`
    bounds          how much time and memory a file of unknown origin may take
    workers         work on many processes, whatever a file does to one of them
    images          one image file: decoded, measured, cut
    manifest        the table of images, and the packed shards
    ranges          decoded ranges, united to what one task would have made
    uniting         data sets of several sources as one
    duplicates      pictures that are in a data set more than once
    grouping        which images must stay together
    audit           shortcuts by which a model could predict the label
    validation      the checks of Great Expectations and their pages
    history         which data set was accepted before
    changes         what has changed since
    splitting       the test set, and the resamples of the rest
    exporting       the table of a result as a CSV for people
"""

# Names of modules: importing them here would load numpy and pandas into every step.
__all__ = [  # ruff: ignore[undefined-export]
    "audit",
    "demo",
    "disk",
    "duplicates",
    "exporting",
    "fetching",
    "history",
    "images",
    "ingesting",
    "kinds",
    "label_files",
    "layout",
    "manifest",
    "metadata",
    "returned",
    "sources",
    "splitting",
    "tasks",
    "workers",
]
