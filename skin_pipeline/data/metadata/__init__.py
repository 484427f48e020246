"""Reads what tables say about the images: class, patient, lesion, and traits such as the age.

Takes in files that may be tables, the images, and the settings about labels and columns. Gives the
class of each image, and a table with a row for each image. Modules of the data room may use the
names in `__all__`; code outside of the room uses them as `metadata.NAME`.

In reading order:

- `reader`: `Reader`, which uses all of the others
- `columns`: which columns are searched for, and their usual names (to add one, begin here)
- `labelling`: the settings about labels and columns
- `sheets`: which tables are about the images
- `label_columns`, `one_hot`, `placeholders`: which columns have the labels, and which only seem to
- `facts`: one value for each image, out of several tables
- `statements`: all tables together, and where they contradict each other or the class folders
- `values`: which values mean the same
"""

from skin_pipeline.data.metadata.columns import METADATA, TRAITS
from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.reader import Known, Reader

__all__ = ["METADATA", "TRAITS", "Known", "Labelling", "Reader"]
