"""Requests about one bucket, and what their errors say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from skin_pipeline.errors import BadInput
from skin_pipeline.storage.s3.advice import STORE
from skin_pipeline.storage.s3.requests import Requests, pages


@pytest.fixture
def requests() -> Requests:
    """Requests to a server that nobody asks anything."""
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://me:hunter2@s3.test"))
    return Requests(client, "models", STORE)


def refused() -> Any:
    raise ClientError({"Error": {"Code": "NoSuchBucket"}}, "GetObject")


def test_an_error_says_what_was_done_where_and_no_password(requests: Requests) -> None:
    where = r"cannot read a/b in the bucket 'models' at https://s3\.test: .*\(NoSuchBucket\)"
    with pytest.raises(BadInput, match=where) as caught:
        requests.ask("read", "a/b", refused)
    assert "hunter2" not in str(caught.value)


def test_a_code_that_is_an_answer_is_none(requests: Requests) -> None:
    assert requests.ask("read", "a/b", refused, none_on={"NoSuchBucket"}) is None


def test_an_answer_about_an_object_without_a_tag_is_not_that_of_s3(requests: Requests) -> None:
    assert requests.ask_about("read", "a/b", lambda: {"ETag": "x"}, ()) == {"ETag": "x"}
    with pytest.raises(BadInput, match=r"https://s3\.test is no S3 server"):
        requests.ask_about("read", "a/b", lambda: {}, ())


def test_a_listing_is_asked_for_page_by_page() -> None:
    paginator = SimpleNamespace(paginate=lambda **how: iter([how]))
    client = SimpleNamespace(get_paginator=lambda _: paginator)
    (how,) = pages(client, "models", "a/")
    assert (how["Bucket"], how["Prefix"]) == ("models", "a/")
    assert how["PaginationConfig"] == {"PageSize": 1000}
