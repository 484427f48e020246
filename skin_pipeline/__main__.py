"""`python -m skin_pipeline`."""

import sys

from skin_pipeline.cli import main

sys.exit(main())
