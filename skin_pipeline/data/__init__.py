"""From where the images are to a table, packed shards and leak-free splits.

Takes in a source (a folder, a zip, Kaggle, a bucket), the tables beside the images, and what the
settings say of them. Gives the data set. Code outside of the room uses the modules in `__all__`.

In reading order:

- `sources`: from a source to images and their classes (a folder with a room for each kind)
- `kinds`: what a file is, by its name or its first bytes
- `metadata`: what tables say of the images (and `foreign_tables`, which reads the tables)
- `disk`: files that appear whole or not at all
- `demo`: a generator of synthetic lesions
"""

# Names of modules: importing them here would load numpy and pandas into every step.
__all__ = ["demo", "disk", "kinds", "metadata", "sources"]  # ruff: ignore[undefined-export]
