"""Imports large packages in half the time.

    with quick_import("keras", without=("matplotlib",)):
        import keras

Only the first import in a process is another than usual.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager


@contextmanager
def quick_import(package: str, without: Iterable[str] = ()) -> Generator[None, None, None]:
    """Makes the first import of a package quick, and the end of the process too.

    Python searches all objects for garbage again and again while it imports, and once more at the
    end. A package leaves no garbage when it is imported, and its objects stay; so there is no
    search in the block, and later ones leave out what is there at its end.

    Args:
        package: What is imported in the block. If it is there already, nothing is different: what
            is left out of searches for good must not grow with each call.
        without: Optional packages of it that nobody here uses by it. In the block they are as if
            they were not installed, unless they are imported already.
    """
    if package in sys.modules:
        yield
        return
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
