"""The expectations of our own."""

from __future__ import annotations

import pytest
from sound_tables import first, groups_of, table

from skin_pipeline.data.validation import expectations

SHARES = {  # groups, the share that one may have, and whether one has more
    "everybody is one patient": ((40,), 0.1, True),
    "a third has no patient": ((13, *[1] * 27), 0.1, True),
    "just over the bound": ((13, *[1] * 27), 0.3, True),
    "just at the bound": ((12, *[1] * 28), 0.3, False),
    "a handful": ((10, *[1] * 30), 0.1, False),
    "three patients": ((14, 13, 13), 0.1, False),
    "two patients": ((20, 20), 0.1, False),
    "one of three patients with more than half": ((22, 9, 9), 0.1, True),
    "ten patients, one with twice the mean": ((8, *[4] * 7, 2, 2), 0.1, False),
    "ten patients, one with three times the mean": ((12, *[4] * 5, *[2] * 4), 0.1, True),
    "all of one patient, and that is meant": ((40,), 1.0, False),
}


@pytest.mark.parametrize("case", SHARES)
def test_a_group_with_a_large_share_of_the_images_is_refused(case: str) -> None:
    sizes, share, refused = SHARES[case]
    found = expectations.ExpectNoGiantGroup(share=share).faults(table(**groups_of(*sizes)))
    assert len(found) == refused


REMEDIES = {
    "patient_id": "empty the cell if this stands for no patient in particular",
    "lesion_id": "empty the cell if this stands for no lesion in particular",
    "duplicates": "keep one of these copies and remove the others",
}


@pytest.mark.parametrize("link", REMEDIES)
def test_a_giant_group_is_named_by_what_holds_it_together(link: str) -> None:
    held = {link: first(*["x"] * 20, ""), "group": first(*["a group"] * 24, "")}
    held["group"] = [name or f"g{i}" for i, name in enumerate(held["group"])]
    assert expectations.ExpectNoGiantGroup(share=0.1).faults(table(**held)) == [
        f"a group: 24 of 40 images (60%), 20 of them with {link} 'x'; "
        f"{REMEDIES[link]}, or raise max_group_share if they belong together"
    ]
