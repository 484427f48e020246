"""What tables say of images: their class, patient, lesion, and further columns such as the age.

Takes in files that may be tables, the images, and what the settings say of labels and columns.
Gives the class of each image and a table with a row for each. The modules of the data room use what
is listed below, and so may code outside of it as `metadata.NAME`.

In reading order:

- `reader`: the whole of it
- `columns`: which columns are looked for, under which names (to add one, begin and end here)
- `labelling`: what the settings say of labels
- `sheets`: which tables are about the images
- `label_columns`, `one_hot`, `placeholders`: where a table has its labels, and when they are none
- `facts`: one value for each image, out of several tables
- `statements`: all tables together, and what they contradict
- `values`: which values mean the same
"""

from skin_pipeline.data.metadata.columns import METADATA, TRAITS
from skin_pipeline.data.metadata.labelling import Labelling
from skin_pipeline.data.metadata.reader import Known, Reader

__all__ = ["METADATA", "TRAITS", "Known", "Labelling", "Reader"]
