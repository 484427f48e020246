"""What `run_confined` starts: `python -m skin_pipeline.sandbox CELL MODULE ARGUMENT…`.

It is a module of its own, so that Python does not import what it runs a second time.
"""

import sys

from skin_pipeline.sandbox.inside import main

if __name__ == "__main__":
    main(*sys.argv[1:])
