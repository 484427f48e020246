"""Credentials that expire while a client uses them."""

from __future__ import annotations

import logging
import threading
from typing import Any

from skin_pipeline.storage.s3.access import CREDENTIALS, S3Access
from skin_pipeline.storage.s3.advice import EXPIRED

log = logging.getLogger(__name__)


class Renewal:
    """Looks credentials up again when a server says that they have expired, and repeats the
    request with the new ones. Requests that fail at the same time share one look-up.

    botocore itself renews only credentials whose end it knows; those of an Airflow connection, or
    of a file that another program writes, can end at any time.

    Args:
        access: Where to look.
    """

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._found: Any = None  # botocore's credentials, which replace those of the client
        self._number = 0  # of look-ups so far

    def watch(self, client: Any) -> None:
        """Has all requests of a client renewed."""
        client.meta.events.register("before-sign.s3", self._sign)
        client.meta.events.register("needs-retry.s3", self._again)

    def _sign(self, request: Any, **_: Any) -> None:
        """Notes with which look-up's credentials a request is signed."""
        with self._lock:
            request.context["skin_look_up"] = self._number
            if self._found:
                request.context.setdefault("signing", {})["request_credentials"] = self._found

    def _again(self, response: Any, request_dict: Any, **_: Any) -> float | None:
        """Returns the seconds until a request is repeated; None: not at all."""
        context = request_dict["context"]
        if response is None or "skin_renewed" in context:
            return None
        code = response[1].get("Error", {}).get("Code")
        # The answer to HEAD has no body that could name the reason, so any 400 may be this one.
        if code not in EXPIRED and (code != "400" or request_dict["method"] != "HEAD"):
            return None
        context["skin_renewed"] = True  # once a request: new credentials may be wrong as well
        with self._lock:
            # If another request looked them up meanwhile, its credentials are used.
            if context["skin_look_up"] == self._number:
                self._found = _looked_up(self._access)
                self._number += 1
            found = self._found
        log.info("credentials_looked_up_again reason=%s found=%s", code, bool(found))
        return 0.0 if found else None


def _looked_up(access: S3Access) -> Any:
    """Returns the credentials as they are now, for botocore; None if there is nowhere to look."""
    import botocore.session
    from botocore.credentials import Credentials

    if access.renew:
        access = access.renew()
    elif access.credentials.get("aws_access_key_id"):
        return None  # the caller gave them, without a way to ask for others
    given = [access.credentials.get(name) or None for name in CREDENTIALS[:3]]
    if all(given[:2]):
        return Credentials(*given)
    return botocore.session.Session(profile=access.profile or None).get_credentials()
