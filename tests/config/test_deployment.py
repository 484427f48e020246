"""The installation: threads, local copies, and how objects are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from skin_pipeline.config import Deployment, read_deployment, threads
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import S3Writing


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"S3_ENCRYPTION": "rot13"}, "s3_encryption: Input should be '', 'AES256' or 'aws:kms'"),
        ({"S3_KMS_KEY": "alias/a"}, "Received: s3_encryption=''; choose aws:kms, or leave"),
        ({"S3_KMS_KEY": "alias/a", "S3_ENCRYPTION": "AES256"}, "only for s3_encryption=aws:kms"),
        ({"S3_KMS_KEY": "a\nb", "S3_ENCRYPTION": "aws:kms"}, "s3_kms_key: "),
        ({"S3_STORAGE_CLASS": "DEEP_ARCHIVE"}, "read at once, not one of GLACIER, DEEP_ARCHIVE"),
        ({"S3_STORAGE_CLASS": "glacier"}, "Received: 'glacier'; choose another"),
        ({"S3_STORAGE_CLASS": "TWO WORDS"}, "s3_storage_class: "),
        ({"S3_VERSIONING": "maybe"}, "s3_versioning: "),
    ],
)
def test_ways_to_write_that_do_not_fit_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SKIN_{name}", value)
    with pytest.raises(BadInput) as error:
        read_deployment()
    assert message in str(error.value)


def test_ways_to_write_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_deployment().s3_writing == S3Writing()
    given = ("aws:kms", "alias/skin", "GLACIER_IR", "true")
    names = ("ENCRYPTION", "KMS_KEY", "STORAGE_CLASS", "VERSIONING")
    for name, value in zip(names, given, strict=True):
        monkeypatch.setenv(f"SKIN_S3_{name}", value)
    assert read_deployment().s3_writing == S3Writing("aws:kms", "alias/skin", "GLACIER_IR", True)


@pytest.mark.parametrize(("set_to", "used"), [(0, 12), (1, 1), (5, 5)])
def test_a_task_uses_as_many_threads_as_it_was_given_or_all_cores(
    monkeypatch: pytest.MonkeyPatch, set_to: int, used: int
) -> None:
    monkeypatch.setattr("skin_pipeline.config.deployment.os.cpu_count", lambda: 12)
    assert threads(Deployment(threads=set_to)) == used


def test_the_size_of_local_copies_is_in_gibibytes() -> None:
    assert Deployment(cache_gib=1.5).cache_bytes == 1_610_612_736


@pytest.mark.parametrize(("set_to", "slots"), [(0, 1), (1, 1), (5, 5)])
def test_a_task_in_airflow_takes_a_slot_for_each_thread(set_to: int, slots: int) -> None:
    assert Deployment(threads=set_to).slots == slots


@pytest.mark.parametrize(
    ("threads", "alone", "slots"), [(0, 0, 1), (3, 0, 3), (0, 4, 4), (2, 8, 8), (4, 2, 2)]
)
def test_a_task_that_its_run_waits_for_takes_as_many_as_others_unless_told_otherwise(
    threads: int, alone: int, slots: int
) -> None:
    assert Deployment(threads=threads, alone_threads=alone).alone_slots == slots


def test_moves_that_were_seen_are_remembered_below_the_users_own_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative, so it does not count")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Deployment().state_folder == str(tmp_path / ".local/state/skin-pipeline")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert Deployment().state_folder == str(tmp_path / "state/skin-pipeline")
    assert Deployment(state="/srv/seen").state_folder == "/srv/seen"
