"""The name of a component of a cluster on one machine, where all have the same host name."""

from __future__ import annotations

import os


def name() -> str:
    """Airflow's `hostname_callable`."""
    return os.environ.get("COMPONENT", "unknown")
