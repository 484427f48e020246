"""The credentials of a data source, which a job carries to the client that uses them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class KaggleCredentials:
    """Who asks: a user name and key, or an API token, which wins. A key alone is a token.

    `origin` ends the phrase "the credentials from …" in messages.
    """

    username: str = ""
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    origin: str = "the caller"
