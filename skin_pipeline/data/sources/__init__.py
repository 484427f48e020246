"""Where images come from: a folder, a zip file, Kaggle, an S3 bucket, or the generator of the demo.

Takes in a source, which is what the setting `data` may be. Gives the files that are there
(`folder_of`, `files_at`), and the class of each image (`find`). The modules of the data room use
what is listed below, and so may code outside of it as `sources.NAME`.

In reading order:

- `opening`: from a source to its files
- `from_folder`, `from_zip`, `from_bucket`, `from_kaggle`: one module for each place that has images
- `zip_archive`: a zip file from a stranger
- `kaggle_credentials`, `kaggle_transfer`, `patience`: signing in, resuming, and trying again
- `contents`: what is used of a source, and notices of the rest
- `names`: names of strangers, and safe paths to write to
- `found`: the images of a data set, and the digest of their content
- `classes`: the class of each image, from folders or tables
"""

from skin_pipeline.data.sources.classes import find
from skin_pipeline.data.sources.contents import SourceFile
from skin_pipeline.data.sources.found import Found, Images, changed, exchanged
from skin_pipeline.data.sources.opening import files_at, folder_of

__all__ = [
    "Found",
    "Images",
    "SourceFile",
    "changed",
    "exchanged",
    "files_at",
    "find",
    "folder_of",
]
