"""Fetches images from a folder, a zip file, Kaggle, an S3 bucket, or the generator of the demo.

Takes in a source: any value of the setting `data`. Gives the files of the source (`folder_of`,
`files_at`), and the class of each image (`find`). Modules of the data room may use the names in
`__all__`; code outside of the room uses them as `sources.NAME`.

In reading order:

- `opening`: from a source to its files
- `surveying`: a source shared by many workers, each of which fetches only what it decodes
- `archives`: the archive of a source, fetched once for all tasks of a machine
- `arrivals`: what is in a source, before anything is fetched
- `from_folder`, `from_zip`, `from_bucket`, `from_kaggle`: a module for each kind of source
- `zip_archive`: reading a zip file that is not trusted
- `kaggle_credentials`, `kaggle_transfer`, `patience`: signing in, resuming, and trying again
- `contents`: which files of a source are used, and notices of the others
- `names`: names that are not trusted, and safe paths to write to
- `found`: the images of a data set, and the digest of their content
- `classes`: the class of each image, from folders or tables
"""

from skin_pipeline.data.sources.arrivals import brought, listed
from skin_pipeline.data.sources.classes import find
from skin_pipeline.data.sources.contents import Listed, Listing, SourceFile
from skin_pipeline.data.sources.found import Found, Images, changed, exchanged
from skin_pipeline.data.sources.opening import files_at, folder_of
from skin_pipeline.data.sources.surveying import Survey, check_unchanged, some_of, surveyed

__all__ = [
    "Found",
    "Images",
    "Listed",
    "Listing",
    "SourceFile",
    "Survey",
    "brought",
    "changed",
    "check_unchanged",
    "exchanged",
    "files_at",
    "find",
    "folder_of",
    "listed",
    "some_of",
    "surveyed",
]
