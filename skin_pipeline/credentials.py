"""The credentials of a data source, which a job carries to the client that uses them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class KaggleCredentials:
    """A user name and a key, or an API token, which takes precedence. A key alone is a token.

    `origin` ends the phrase "the credentials from …" in messages. Secrets are not in the `repr`,
    which logs and tracebacks may show.
    """

    username: str = ""
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    origin: str = "the caller"
