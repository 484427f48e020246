from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from skin_pipeline import steps
from skin_pipeline.contracts import Split, load
from skin_pipeline.data import audit, demo, grouping, manifest, splitting
from skin_pipeline.data.duplicates import Pair
from skin_pipeline.job import Job

NOTHING = pd.Series([], index=pd.Index([], name="sha256"), dtype=str)


def rows(*links: Any) -> Any:
    """A table with patient, lesion and cluster of duplicates of each row."""
    table = pd.DataFrame(list(links), columns=["patient_id", "lesion_id", "duplicates"])
    return table.assign(
        key=[f"benign/{i}.jpg" for i in range(len(table))],
        sha256=[f"sha{i}" for i in range(len(table))],
    )


@pytest.mark.parametrize(
    ("links", "together"),
    [
        ([("P1", "", ""), ("P1", "", "")], True),
        ([("", "L1", ""), ("", "L1", "")], True),
        ([("", "", "a"), ("", "", "a")], True),
        ([("P1", "", "a"), ("P2", "", "a")], True),
        ([("P1", "L1", ""), ("P2", "L1", "")], True),
        ([("P1", "L1", ""), ("P2", "L2", "")], False),
        ([("", "", ""), ("", "", "")], False),
        ([("x", "", ""), ("", "x", "")], False),  # a patient is no lesion
    ],
)
def test_images_of_one_patient_lesion_or_picture_stay_together(links: Any, together: bool) -> None:
    groups = grouping.groups(rows(*links))
    assert (groups[0] == groups[1]) == together


def test_links_reach_over_several_images() -> None:
    table = rows(("P1", "", ""), ("P1", "L1", ""), ("", "L1", "a"), ("", "", "a"), ("P2", "", ""))
    groups = grouping.groups(table)
    assert list(groups[:4]) == ["patient_id:P1"] * 4
    assert groups[4] == "patient_id:P2"


LINKS = st.lists(
    st.tuples(*[st.sampled_from(["", *(f"{kind}{i}" for i in range(5))]) for kind in "PLd"]),
    min_size=1,
    max_size=25,
)


@given(LINKS, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_the_rows(links: Any, random: Any) -> None:
    table = rows(*links)
    order = list(table.index)
    random.shuffle(order)
    assert grouping.groups(table.loc[order]).sort_index().equals(grouping.groups(table))


@given(LINKS)
def test_rows_with_a_common_link_are_always_in_one_group(links: Any) -> None:
    table = rows(*links)
    groups = grouping.groups(table)
    for column in grouping.LINKS:
        known = table[table[column] != ""]
        assert (groups[known.index].groupby(known[column]).nunique() <= 1).all()


@given(LINKS)
def test_a_group_holds_nothing_that_no_chain_of_links_reaches(links: Any) -> None:
    table = rows(*links)
    groups = grouping.groups(table)
    for _, members in table.groupby(groups):
        reached: set[Any] = {members.index[0]}
        before: set[Any] = set()
        while reached != before:
            before = set(reached)
            for column in grouping.LINKS:
                values = set(table.loc[list(reached), column]) - {""}
                reached |= set(members.index[members[column].isin(values)])
        assert reached == set(members.index)


def test_clusters_follow_chains_of_pairs_and_name_their_first_digest() -> None:
    table = rows(*[("", "", "")] * 6)
    pairs = [Pair(0, 3, "near", 0.9), Pair(3, 4, "file", 1.0), Pair(1, 5, "pixels", 1.0)]
    assert list(grouping.clusters(table, pairs)) == ["sha0", "sha1", "", "sha0", "sha0", "sha1"]
    assert list(grouping.clusters(table, [])) == [""] * 6


# --- anchors -------------------------------------------------------------------------------------


def anchored(table: Any, known: pd.Series = NOTHING) -> tuple[Any, Any]:
    table = table.assign(group=grouping.groups(table))
    table["anchor"] = grouping.anchors(table, known)
    return table, grouping.remembered(table, known)


def test_at_first_an_anchor_is_the_name_of_the_group() -> None:
    table, known = anchored(rows(("P1", "", ""), ("", "", "")))
    assert list(table["anchor"]) == ["patient_id:P1", "sha256:sha1"]
    assert dict(known) == {"sha0": "patient_id:P1", "sha1": "sha256:sha1"}


@given(LINKS, LINKS)
def test_adding_and_removing_images_never_changes_an_anchor(links: Any, more: Any) -> None:
    first, known = anchored(rows(*links))
    bigger, known = anchored(rows(*links, *more), known)
    assert list(bigger["anchor"][: len(links)]) == list(first["anchor"])
    kept = rows(*links, *more)[::2]
    smaller, known = anchored(kept, known)
    assert smaller["anchor"].equals(bigger["anchor"][::2])
    again, _ = anchored(rows(*links, *more), known)
    assert again["anchor"].equals(bigger["anchor"])


def test_a_new_image_takes_the_anchor_of_its_group() -> None:
    _, known = anchored(rows(("P2", "", "")))
    table, _ = anchored(rows(("P2", "", "x"), ("P1", "", "x")), known)
    assert set(table["group"]) == {"patient_id:P1"}
    assert list(table["anchor"]) == ["patient_id:P2"] * 2


def test_groups_that_a_new_near_duplicate_unites_are_told(caplog: pytest.LogCaptureFixture) -> None:
    _, known = anchored(rows(("P1", "", ""), ("P2", "", "")))
    with caplog.at_level(logging.WARNING):
        table, _ = anchored(rows(("P1", "", "x"), ("P2", "", "x"), ("", "", "x")), known)
    assert list(table["anchor"]) == ["patient_id:P1", "patient_id:P2", "patient_id:P1"]
    assert 'groups_merged group="patient_id:P1" were="patient_id:P1, patient_id:P2"' in caplog.text


# --- end to end: what a new near-duplicate does to the test set ----------------------------------

INSIDE, OUTSIDE = (
    [
        f"P{number:02}"
        for number in range(90)
        if splitting.in_test(f"patient_id:P{number:02}", 0.2) == tested
    ]
    for tested in (True, False)
)
# Two patients each, of whom one is tested on and the other not; the group of both is called after
# the first, so that the name alone would move the second.
LEAVES = (OUTSIDE[0], INSIDE[1])
ENTERS = (INSIDE[0], next(name for name in OUTSIDE if name > INSIDE[0]))
PATIENTS = sorted({*LEAVES, *ENTERS, *INSIDE[2:6], *OUTSIDE[1:10]})


class Images:
    """A folder with a benign and a malignant drawing of each patient."""

    def __init__(self, folder: Any) -> None:
        self.folder = folder
        self.patients: dict[Any, Any] = {}
        rng = np.random.default_rng(0)
        for label in ("benign", "malignant"):
            (folder / label).mkdir(parents=True)
            for patient in PATIENTS:
                image = demo.lesion(rng, malignant=label == "malignant")
                self.add(image, f"{label}/{patient}.png", patient)

    def add(self, image: Any, key: Any, patient: Any) -> None:
        image.save(self.folder / key)
        self.patients[key] = patient

    def add_turned(self, key: Any, again: Any, patient: Any) -> None:
        """Another file of a picture, said to be of another patient."""
        with Image.open(self.folder / key) as image:
            self.add(image.transpose(Image.Transpose.ROTATE_90), again, patient)

    def remove(self, key: Any) -> Any:
        """The bytes of the file that is no more."""
        del self.patients[key]
        data = (self.folder / key).read_bytes()
        (self.folder / key).unlink()
        return data

    def split(self, job: Any) -> Any:
        """The sides of all images, by key, once the folder was ingested and validated."""
        rows = ["image_name,patient_id"]
        for key, patient in self.patients.items():
            rows.append(f"{key.split('/')[1].removesuffix('.png')},{patient}")
        (self.folder / "metadata.csv").write_text("\n".join(dict.fromkeys(rows)) + "\n")
        key = steps.split(job, steps.validate(job, steps.ingest(job).dataset))
        table = manifest.read(job.store, load(job.store, key, Split).table)
        return table.set_index("key")


def test_a_new_near_duplicate_that_joins_two_groups_moves_nothing_into_or_out_of_the_test_set(
    make_job: Callable[..., Job],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "FEWEST_GROUPS", 1000)  # what takes long, and is not asked for here
    images = Images(tmp_path / "set")
    job = make_job(data=str(tmp_path / "set"), weights="imagenet", test_fraction=0.2)
    before = images.split(job)
    tested = {key for key in before.index if before.at[key, "patient_id"] in INSIDE}
    assert set(before.index[before["run_0"] == "test"]) == tested

    # Two copies come, and an image of the test set is gone.
    for number, (first, second) in enumerate((LEAVES, ENTERS)):
        images.add_turned(f"benign/{second}.png", f"benign/new{number}.png", first)
    gone = f"malignant/{INSIDE[2]}.png"
    data = images.remove(gone)
    after = images.split(job)
    for first, second in (LEAVES, ENTERS):
        joined = after["patient_id"].isin([first, second])
        assert set(after["group"][joined]) == {f"patient_id:{first}"}
    old = after.loc[before.index.drop(gone)]
    assert (old["anchor"] == before["anchor"][old.index]).all()
    assert set(old.index[old["run_0"] == "test"]) == tested - {gone}
    beside = old.index[old["patient_id"].isin([LEAVES[0], ENTERS[1]])]
    for run in ("run_0", "run_1"):
        assert (old.loc[beside, run] == "unused").all()
        used = after[after[run] != "unused"]
        assert (used.groupby("group")[run].nunique() == 1).all()
    for message in (
        f'groups_merged group="patient_id:{LEAVES[0]}"',
        f'group_on_both_sides group="patient_id:{LEAVES[0]}" test=2 set_aside=3',
        f'group_on_both_sides group="patient_id:{ENTERS[0]}" test=3 set_aside=2',
    ):
        assert message in caplog.text

    # The copies go, and the image comes back under a patient with whom it would be trained on.
    for number in range(2):
        images.remove(f"benign/new{number}.png")
    back = f"malignant/{OUTSIDE[1]}_again.png"
    (images.folder / back).write_bytes(data)
    images.patients[back] = OUTSIDE[1]
    third = images.split(job)
    assert (third.loc[old.index, "anchor"] == before["anchor"][old.index]).all()
    assert third.at[back, "anchor"] == f"patient_id:{INSIDE[2]}"
    assert set(third.index[third["run_0"] == "test"]) == tested - {gone} | {back}
