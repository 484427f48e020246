"""Imports large packages in half the time.

with quick_import(without=("matplotlib",)):
    import keras
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager


@contextmanager
def quick_import(without: Iterable[str] = ()) -> Generator[None, None, None]:
    """Makes imports in the block quick, and the end of the process too.

    Python searches all objects for garbage again and again while it imports, and once more at the
    end. A package leaves no garbage when it is imported, and its objects stay; so there is no
    search in the block, and later ones leave out what is there at its end.

    Args:
        without: Optional packages of the imported one that nobody here uses by it. In the block
            they are as if they were not installed, unless they are imported already.
    """
    absent = [name for name in without if name not in sys.modules]
    searched = gc.isenabled()
    gc.disable()
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: not installed
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name)
        gc.freeze()
        if searched:
            gc.enable()
