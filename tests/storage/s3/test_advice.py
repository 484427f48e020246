"""What a person is told to do about the error codes of servers."""

from __future__ import annotations

from collections import Counter

import pytest

from skin_pipeline.storage import SettingNames
from skin_pipeline.storage.s3.advice import ADVICE, CHECKSUMS, STORE, advice

IMAGES = SettingNames(
    address="the address of the images",
    connection="SKIN_DATA_CONNECTION",
    endpoint="SKIN_DATA_ENDPOINT",
)


def test_each_code_is_advised_on_once() -> None:
    found = Counter(code for codes in ADVICE for code in codes)
    assert [code for code, times in found.items() if times > 1] == []


@pytest.mark.parametrize("code", [codes[0] for codes in ADVICE])
def test_each_advice_is_a_whole_sentence(code: str) -> None:
    text = advice(code, STORE)
    assert "{" not in text or '{"config_kwargs"' in text
    assert len(text.split()) > 5


def test_an_advice_names_the_settings_of_the_bucket_that_it_is_about() -> None:
    text = advice("NoSuchBucket", IMAGES)
    assert "the address of the images or SKIN_DATA_ENDPOINT" in text
    assert "SKIN_STORE" not in text
    assert "SKIN_STORE or SKIN_S3_ENDPOINT" in advice("NoSuchBucket", STORE)


def test_an_unknown_code_leads_to_the_address_and_the_server() -> None:
    assert advice("Unheard", STORE).endswith("Check SKIN_STORE and SKIN_S3_ENDPOINT")


@pytest.mark.parametrize(
    ("code", "words"), [("ProfileNotFound", "AWS_PROFILE"), ("InvalidObjectState", "Restore it")]
)
def test_what_is_no_fault_of_the_key_is_not_blamed_on_it(code: str, words: str) -> None:
    assert words in advice(code, STORE)
    assert "the credentials are wrong" not in advice(code, STORE)


def test_the_setting_that_turns_checksums_off_can_be_copied_from_the_message() -> None:
    assert '{"config_kwargs": {"request_checksum_calculation"' in CHECKSUMS.format(STORE)
