"""Tells whether a service of docker-compose.yaml does its work; its health check runs this.

```
python -I scripts/healthy.py answers URL [STATUS]   # by HTTP, with status 200 or another
python -I scripts/healthy.py job NAME               # has told the database lately that it runs
python -I scripts/healthy.py worker                 # answers through the broker
```

Airflow's own commands for the last two import all of Airflow, which takes seconds of a core each
time, and a minute on a machine that is busy.
"""

from __future__ import annotations

import http.client
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

SECRETS = Path("/run/secrets")
SECONDS = 10  # to wait for an answer
SILENT = 60  # seconds after which a job that told nothing is not well; it tells each 5
ALIVE = """
    SELECT count(*) FROM job WHERE job_type = %s AND hostname = %s AND state = 'running'
    AND latest_heartbeat > now() - %s * interval '1 second'
"""


def answers(url: str, status: int = 200) -> bool:
    """Returns whether a server of this machine answers with a status."""
    parts = urlsplit(url)
    asked = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=SECONDS)
    try:
        asked.request("GET", parts.path or "/")
        return asked.getresponse().status == status
    except OSError:
        return False
    finally:
        asked.close()


def job(name: str, address: str, host: str) -> bool:
    """Returns whether a job of a host wrote its heartbeat to the database lately."""
    import psycopg2

    try:
        with (
            psycopg2.connect(address.replace("+psycopg2", ""), connect_timeout=SECONDS) as database,
            database.cursor() as cursor,
        ):
            cursor.execute(ALIVE, (name, host, SILENT))
            return bool(cursor.fetchone()[0])
    except psycopg2.OperationalError:
        return False


def worker(broker: str, host: str) -> bool:
    """Returns whether the Celery worker of a host answers through the broker."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    app = Celery(broker=broker)
    app.conf.broker_connection_retry = False
    try:
        return bool(app.control.ping([f"celery@{host}"], timeout=SECONDS))
    except OperationalError:
        return False


def main(words: list[str]) -> int:
    """Returns the exit status: 0 if the service does its work."""
    what, host = words[0], socket.gethostname()
    if what == "answers":
        return not answers(words[1], *map(int, words[2:]))
    if what == "job":
        return not job(words[1], (SECRETS / "database_url").read_text(), host)
    return not worker((SECRETS / "broker_url").read_text(), host)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
