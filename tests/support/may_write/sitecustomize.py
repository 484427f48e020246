"""A worker process that may write files, by which a test sees what it did.

Python imports this when it starts with this folder on its path.
"""

from skin_pipeline.sandbox import kernel

kernel.landlock_version = lambda: 0
