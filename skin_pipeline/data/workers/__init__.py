"""Spreads work over processes on all cores, in order, with memory bounded and crashes contained.

It takes in a function and what to apply it to, and gives the results in order. A hostile file can
crash the decoder's process, have the kernel end it for its memory, or take longer than it may.
`each` survives that: every process notes which item it works on, so the one to blame is known, and
only that item is given up. Whatever reads files of strangers calls `each`; `spread` is for work on
data of our own.

    spreading   `spread` and `each`
    batches     the items that a process is given at a time, and the work on them
    judging     what becomes of the items on which a process died
    pool        the processes, and the notes of what they work on
    answers     what a process may answer
"""

from skin_pipeline.data.workers.batches import BATCH
from skin_pipeline.data.workers.spreading import each, spread

__all__ = ["BATCH", "each", "spread"]
