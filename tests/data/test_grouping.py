from __future__ import annotations

import logging

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.data import grouping
from skin_pipeline.data.duplicates import Pair

NOTHING = pd.Series([], index=pd.Index([], name="sha256"), dtype=str)


def rows(*links):
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
def test_images_of_one_patient_lesion_or_picture_stay_together(links, together):
    groups = grouping.groups(rows(*links))
    assert (groups[0] == groups[1]) == together


def test_links_reach_over_several_images():
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
def test_groups_do_not_depend_on_the_order_of_the_rows(links, random):
    table = rows(*links)
    order = list(table.index)
    random.shuffle(order)
    assert grouping.groups(table.loc[order]).sort_index().equals(grouping.groups(table))


@given(LINKS)
def test_rows_with_a_common_link_are_always_in_one_group(links):
    table = rows(*links)
    groups = grouping.groups(table)
    for column in grouping.LINKS:
        known = table[table[column] != ""]
        assert (groups[known.index].groupby(known[column]).nunique() <= 1).all()


@given(LINKS)
def test_a_group_holds_nothing_that_no_chain_of_links_reaches(links):
    table = rows(*links)
    groups = grouping.groups(table)
    for _, members in table.groupby(groups):
        reached, before = {members.index[0]}, set()
        while reached != before:
            before = set(reached)
            for column in grouping.LINKS:
                values = set(table.loc[list(reached), column]) - {""}
                reached |= set(members.index[members[column].isin(values)])
        assert reached == set(members.index)


def test_clusters_follow_chains_of_pairs_and_name_their_first_digest():
    table = rows(*[("", "", "")] * 6)
    pairs = [Pair(0, 3, "near", 0.9), Pair(3, 4, "file", 1.0), Pair(1, 5, "pixels", 1.0)]
    assert list(grouping.clusters(table, pairs)) == ["sha0", "sha1", "", "sha0", "sha0", "sha1"]
    assert list(grouping.clusters(table, [])) == [""] * 6


# --- anchors -------------------------------------------------------------------------------------


def anchored(table, known=NOTHING):
    table = table.assign(group=grouping.groups(table))
    table["anchor"] = grouping.anchors(table, known)
    return table, grouping.remembered(table, known)


def test_at_first_an_anchor_is_the_name_of_the_group():
    table, known = anchored(rows(("P1", "", ""), ("", "", "")))
    assert list(table["anchor"]) == ["patient_id:P1", "sha256:sha1"]
    assert dict(known) == {"sha0": "patient_id:P1", "sha1": "sha256:sha1"}


@given(LINKS, LINKS)
def test_adding_and_removing_images_never_changes_an_anchor(links, more):
    first, known = anchored(rows(*links))
    bigger, known = anchored(rows(*links, *more), known)
    assert list(bigger["anchor"][: len(links)]) == list(first["anchor"])
    kept = rows(*links, *more)[::2]
    smaller, known = anchored(kept, known)
    assert smaller["anchor"].equals(bigger["anchor"][::2])
    again, _ = anchored(rows(*links, *more), known)
    assert again["anchor"].equals(bigger["anchor"])


def test_a_new_image_takes_the_anchor_of_its_group():
    _, known = anchored(rows(("P2", "", "")))
    table, _ = anchored(rows(("P2", "", "x"), ("P1", "", "x")), known)
    assert set(table["group"]) == {"patient_id:P1"}
    assert list(table["anchor"]) == ["patient_id:P2"] * 2


def test_groups_that_a_new_near_duplicate_unites_are_told(caplog):
    _, known = anchored(rows(("P1", "", ""), ("P2", "", "")))
    with caplog.at_level(logging.WARNING):
        table, _ = anchored(rows(("P1", "", "x"), ("P2", "", "x"), ("", "", "x")), known)
    assert list(table["anchor"]) == ["patient_id:P1", "patient_id:P2", "patient_id:P1"]
    assert 'groups_merged group="patient_id:P1" were="patient_id:P1, patient_id:P2"' in caplog.text
