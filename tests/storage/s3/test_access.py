"""How a server is reached, which is shown without its secrets."""

from __future__ import annotations

from skin_pipeline.storage import S3Access


def test_no_credential_is_shown() -> None:
    access = S3Access("https://s3.example.org", {"aws_secret_access_key": "hunter2"})
    assert "hunter2" not in f"{access} {access!r}"
    assert "s3.example.org" in repr(access)


def test_the_way_to_renew_credentials_is_no_part_of_what_is_compared() -> None:
    assert S3Access("https://a", renew=lambda: S3Access()) == S3Access("https://a")
