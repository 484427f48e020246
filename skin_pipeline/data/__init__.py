"""From where the images are to a table, packed shards and leak-free splits.

From images that were found at a source to the split, in reading order:

    fetching      what a data set is made from, before anything is decoded
    tasks         makes the results of `ingest`, `validate` and `split`
    bounds        how much time and memory a file of strangers may take
    workers       work on many processes, whatever a file does to one of them
    images        one image file: decoded, measured, cut
    manifest      the table of images, and the packed shards
    duplicates    pictures that are in a data set more than once
    grouping      which images must stay together
    audit         shortcuts by which a model could predict the label
    validation    the checks of Great Expectations and their pages
    history       which data set was accepted before
    changes       what has changed since
    splitting     the test set, and the resamples of the rest
"""
