"""Which files of a machine the settings of a run may name: every spelling of a path."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import weights_file

from skin_pipeline import cli, steps
from skin_pipeline.config import Deployment, Settings, form_schema, read_deployment, read_settings
from skin_pipeline.data import demo, sources
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.roots import Roots
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import pretrained

Making = Callable[..., Job]


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a name of a secret in it, and a file."""
    (tmp_path / "outside/secret-name").mkdir(parents=True)
    (tmp_path / "outside/secret-name/passwords.json").write_text('{"admin": "hunter2"}')
    return tmp_path / "outside"


@pytest.fixture
def job(store: FolderStore, inside: Path) -> Making:
    """A job of a run that somebody else started."""

    def made(*folders: Path, **settings: Any) -> Job:
        names = ", ".join(f'"{folder}"' for folder in folders)
        deployment = Deployment(store=store.url, paths=names)
        roots = Roots.of(deployment, by_others=True)
        return Job(Settings(**settings), deployment, store, roots=roots)

    return made


def refused(job: Job, where: str) -> str:
    with pytest.raises(BadInput) as caught, sources.folder_of(job, where):
        pass
    message = str(caught.value)
    assert "SKIN_PATHS" in message
    assert "secret-name" not in message.replace(where, "")
    assert "passwords" not in message.replace(where, "")
    return message


def spellings(inside: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.chdir(inside)
    (inside / "link").symlink_to(outside)
    (inside / "chain").symlink_to(inside / "link")
    (inside / "relative").symlink_to("../outside")
    (inside / "deep").mkdir()
    (inside / "deep/up").symlink_to("..")
    return [
        str(outside),
        f"{inside}/../outside",
        f"{inside}/deep/../../outside",
        f"{inside}/./deep/up/../outside",
        f"{inside}/link",
        f"{inside}/link/",
        f"{inside}/chain/secret-name",
        f"{inside}/relative",
        "../outside",
        "./deep/../../outside",
        "link",
        "~",
        "~/secret-name",
        "~root",
        f"//{outside}",
        f"{outside}/",
        f"/proc/self/root{outside}",
        f"/proc/self/cwd/../{outside.name}",
        f"/dev/fd/../..{outside}",
        f"file://{outside}",
        f"FILE://{outside}",
        f"S3://{outside}",
        f"{inside}2",
        f"{inside}x/../outside",
        "/",
        "/etc/passwd",
        "/dev/zero",
        "/no/such/folder",
        "Demo",
        "DEMO",
    ]


def test_no_spelling_of_a_path_leads_out_of_the_roots(
    job: Making, inside: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in spellings(inside, outside, monkeypatch):
        if where.lower() in {"demo", f"s3://{outside}", f"file://{outside}"}:
            # These name nothing outside: they are relative, and lie within.
            with (
                pytest.raises(BadInput, match="there is nothing"),
                sources.folder_of(job(inside), where),
            ):
                pass
        else:
            refused(job(inside), where)


def test_where_no_root_is_named_others_may_name_no_path(
    job: Making, inside: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in (str(inside), *spellings(inside, outside, monkeypatch)):
        assert "names: none" in refused(job(), where)


@pytest.mark.parametrize("where", ["a\0b", "~no-such-user-here/x", "/" + "x" * 5000])
def test_what_is_no_path_is_refused_by_name(job: Making, inside: Path, where: str) -> None:
    for roots in ((inside,), ()):
        with pytest.raises(BadInput), sources.folder_of(job(*roots), where):
            pass
    with pytest.raises(BadInput, match="no path"):
        Roots().path("~no-such-user-here/x")


def test_a_missing_path_outside_reads_like_one_that_is_there(
    job: Making, inside: Path, outside: Path
) -> None:
    there = refused(job(inside), str(outside))
    missing = refused(job(inside), f"{outside}x")
    assert missing.replace(f"{outside}x", "") == there.replace(str(outside), "")


def test_what_lies_within_a_root_is_read_also_over_links_within_it(
    job: Making, inside: Path
) -> None:
    demo.generate(inside / "set", 0, 2)
    (inside / "link").symlink_to(inside / "set")
    for where in (inside / "set", inside / "link", inside / "set/../link"):
        with sources.folder_of(job(inside), str(where)) as contents:
            assert len(contents.images) == 4
    (inside / "root").symlink_to(inside)  # the operator's own link, as of /srv
    with sources.folder_of(job(inside / "root"), str(inside / "set")) as contents:
        assert len(contents.images) == 4


def test_a_slash_allows_all_and_nothing_set_leaves_the_command_line_free(
    job: Making, inside: Path, store: FolderStore
) -> None:
    demo.generate(inside / "set", 0, 2)
    with sources.folder_of(job("/"), str(inside / "set")) as contents:
        assert len(contents.images) == 4
    free = cli.job_of(Settings(), Deployment(store=store.url))
    assert free.roots.folders is None
    bound = cli.job_of(Settings(), Deployment(store=store.url, paths=str(inside / "other")))
    refused(bound, str(inside / "set"))


def test_the_generator_needs_no_root(job: Making) -> None:
    with sources.folder_of(job(), "demo") as contents:
        assert contents.images


def test_links_in_a_folder_that_lead_out_of_the_roots_are_told_and_not_followed(
    job: Making, inside: Path, outside: Path
) -> None:
    demo.generate(inside / "set", 0, 2)
    demo.generate(outside / "images", 0, 3)
    image = next((outside / "images").rglob("*.jpg"), None) or next(
        path for path in (outside / "images").rglob("*") if path.suffix != ".csv" and path.is_file()
    )
    (inside / "set/benign/more").symlink_to(outside / "images")
    (inside / f"set/benign/one{image.suffix}").symlink_to(image)
    (inside / "set/table.csv").symlink_to(outside / "secret-name/passwords.json")
    (inside / "set/benign/nothing").symlink_to(outside / "nothing")
    with sources.folder_of(job(inside), str(inside / "set")) as contents:
        assert len(contents.images) == 4
        assert not any(item.name == "table.csv" for item in contents.tables)
        told = [str(notice) for notice in contents.notices]
    assert any("(4)" in text and "SKIN_PATHS" in text for text in told), told
    assert not any("secret-name" in text or "no such" in text for text in told)
    with sources.folder_of(job("/"), str(inside / "set")) as contents:
        assert len(contents.images) > 4


def test_a_zip_and_its_link_must_lie_within(job: Making, inside: Path, outside: Path) -> None:
    demo.generate(outside / "images", 0, 2)
    with zipfile.ZipFile(outside / "set.zip", "w") as archive:
        for path in (outside / "images").rglob("*"):
            archive.write(path, path.relative_to(outside))
    (inside / "set.zip").symlink_to(outside / "set.zip")
    refused(job(inside), str(outside / "set.zip"))
    refused(job(inside), str(inside / "set.zip"))
    with sources.folder_of(job(outside), str(inside / "set.zip")) as contents:
        assert len(contents.images) == 4


def test_sets_of_another_origin_are_bound_as_well(job: Making, inside: Path, outside: Path) -> None:
    demo.generate(inside / "set", 0, 10)
    bound = job(inside, data=str(inside / "set"), external=f"isic={outside}", weights="imagenet")
    with pytest.raises(BadInput, match="SKIN_PATHS"):
        steps.ingest(bound)


def test_places_to_score_are_bound_where_roots_are_named(
    job: Making, inside: Path, outside: Path
) -> None:
    (inside / "list.txt").write_text(f"{outside}/secret-name/passwords.json\n")
    for place in (str(outside), f"@{outside}/list.txt", f"@{inside}/list.txt"):
        with pytest.raises(BadInput, match="SKIN_PATHS"), sources.files_at(job(inside), [place]):
            pass


def test_a_weight_file_outside_is_not_copied_into_the_store(
    job: Making, inside: Path, outside: Path, store: FolderStore, tmp_path: Path
) -> None:
    weights_file.written(outside / "real.weights.h5")
    (inside / "link.h5").symlink_to(outside / "real.weights.h5")
    for where in (outside / "real.weights.h5", inside / "link.h5", outside / "secret-name"):
        bound = job(inside, weights=str(where))
        with pytest.raises(BadInput, match="SKIN_PATHS"):
            pretrained.pin_weights(bound.settings, store, bound.roots)
    assert not (tmp_path / "store/weights").exists()
    bound = job(outside, weights=str(inside / "link.h5"))
    assert pretrained.pin_weights(bound.settings, store, bound.roots).startswith("weights/")


@pytest.mark.parametrize("paths", ["var/images", "/srv, images", "~", "./x"])
def test_a_root_that_depends_on_where_one_stands_is_refused(
    monkeypatch: pytest.MonkeyPatch, paths: str
) -> None:
    monkeypatch.setenv("SKIN_PATHS", paths)
    with pytest.raises(BadInput, match=r"paths.*absolute"):
        read_deployment()


def test_a_root_with_a_comma_stands_in_quotes(tmp_path: Path) -> None:
    deployment = Deployment(paths=f'"{tmp_path}/a, b", /srv/skin')
    assert Roots.of(deployment, by_others=True).folders == (
        os.path.realpath(f"{tmp_path}/a, b"),
        os.path.realpath("/srv/skin"),
    )


# --- settings that hold a secret -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "external", "weights", "columns", "malignant_values"])
@pytest.mark.parametrize(
    "value",
    [
        "kaggle://ada:hunter2key@owner/name",
        "https://ada:hunter2key@www.kaggle.com/datasets/owner/name",
        "s3://AKIAIOSFODNN7EXAMPLE:hunter2key@bucket/x",
        "isic=https://ada:hunter2key@host/x",
        "https://www.kaggle.com/datasets/owner/name?token=hunter2key",
        "https://b.s3.amazonaws.com/x.zip?X-Amz-Signature=hunter2key",
        "  kaggle://ada:hunter2key@owner/name ",
    ],
)
def test_a_setting_with_a_secret_in_it_is_refused_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{name} holds a user name with a password") as caught:
        read_settings({name: value})
    message = str(caught.value)
    assert "hunter2key" not in message
    assert "SKIN_DATA_CONNECTION" in message


def test_a_default_of_scheduled_runs_with_a_secret_in_it_is_not_repeated_in_any_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SKIN_DATA", "https://ada:hunter2key@host/x")
    for made in (Settings, form_schema, lambda: read_settings({})):
        with pytest.raises(Exception, match="must not be there") as caught:
            made()
        assert "hunter2key" not in f"{caught.value} {caught.value!r}"


def test_a_misspelt_setting_does_not_repeat_its_secret() -> None:
    with pytest.raises(BadInput, match=r"no setting|holds a user") as caught:
        read_settings({"dat": "https://ada:hunter2key@host", "runs": "https://ada:hunter2key@host"})
    assert "hunter2key" not in str(caught.value)


@pytest.mark.parametrize("name", ["SKIN_STORE", "SKIN_S3_ENDPOINT", "SKIN_DATA_ENDPOINT"])
def test_an_installation_with_a_secret_in_an_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "https://ada:hunter2key@host/x")
    with pytest.raises(BadInput, match="Airflow connection") as caught:
        read_deployment()
    assert "hunter2key" not in str(caught.value)
