"""`python -m skin_pipeline`."""

import os
import sys

from skin_pipeline.imports import quick_import

with quick_import("skin_pipeline.cli"):
    from skin_pipeline.cli import FAILED, main

try:
    try:
        status = main()
    finally:
        print(end="", flush=True)  # while an error can still be caught
except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
    status = FAILED
sys.exit(status)
