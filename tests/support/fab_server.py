"""A real API server under FAB, with a user in each of its roles."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from models_server import PASSWORD, AirflowUi, api_server, know_dags

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
# Users and their roles. Who only reads FAB's Viewer has no right to see plugins; Reader and Actor
# are Viewer and User with that right, as docs/operating.md advises.
USERS = {
    "victor": "Viewer",
    "ursula": "User",
    "rita": "Reader",
    "anton": "Actor",
    "olga": "Op",
    "admin": "Admin",
}
MAKE = """
import json, sys
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
users, password = json.loads(sys.argv[1]), sys.argv[2]
with get_application_builder() as builder:
    manager = builder.sm
    manager.sync_roles()
    plugins = manager.get_permission("can_read", "Plugins")
    for name, like in {"Reader": "Viewer", "Actor": "User"}.items():
        role = manager.add_role(name)
        for permission in (*manager.find_role(like).permissions, plugins):
            manager.add_permission_to_role(role, permission)
    for name, role in users.items():
        mail = f"{name}@example.org"
        assert manager.add_user(name, name, name, mail, manager.find_role(role), password)
"""


@contextmanager
def fab_server(home: Path) -> Generator[AirflowUi, None, None]:
    """An API server under FAB, up when the block starts; it knows our DAGs."""
    with api_server(home, more={"AIRFLOW__CORE__AUTH_MANAGER": FAB}, prepare=_prepare) as ui:
        yield ui


def _prepare(environment: dict[str, str]) -> None:
    """Adds the users, and has the database contain our DAGs."""
    for command in (
        ["-m", "airflow", "db", "migrate"],  # FAB has tables of its own
        ["-c", MAKE, json.dumps(USERS), PASSWORD],
    ):
        run = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True
        )
        if run.returncode:
            raise RuntimeError(f"{command[:2]} failed:\n{run.stderr[-3000:]}")
    know_dags(environment)
