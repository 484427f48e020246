"""Processes that touch strangers' bytes, given no more than their work needs.

Takes in the name of a module and what its process may do (a `Cell`), and gives the answer of the
module's `main`: text to be distrusted, of bounded size. Before anything of the module is imported,
the process gives up, as far as the system lets it: all files but those of its work, the network,
other programs and processes, and root's rights. One line of the log lists what it gave up, and
another what it could not give up. docs/security.md says what is promised on which system.

The trial of a model file (`run_confined`) and the workers that decode images
(`workers_without_secrets`, `confine_decoder`) call it; nothing else starts such processes.

In reading order:

- `cell`: what a confined process may do, how it ended, and what it could give up
- `confine`: the process that starts it, listens to it, and ends it
- `__main__`: what is started
- `inside`: the process itself, which gives up its rights
- `kernel`: what Linux offers for that, one function for each kind of right
"""

from skin_pipeline.sandbox.cell import Cell, Ended, Overflow
from skin_pipeline.sandbox.confine import run_confined, workers_without_secrets
from skin_pipeline.sandbox.inside import confine_decoder

__all__ = [
    "Cell",
    "Ended",
    "Overflow",
    "confine_decoder",
    "run_confined",
    "workers_without_secrets",
]
