"""Files of labels that came back, in the shapes that clinics send them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from skin_pipeline.config import read_settings
from skin_pipeline.data.label_files import Said, Seen, read
from skin_pipeline.data.metadata import Labelling
from skin_pipeline.errors import BadInput

AT = "2026-11-26T08:00:00+00:00"
A, B, C, D = (letter * 64 for letter in "abcd")
SEEN = Seen([
    ("inbox/ISIC_01.jpg", A),
    ("inbox/ISIC_02.jpg", B),
    ("march/IMG_1.png", C),
    ("april/IMG_1.png", D),
])


def said(tmp_path: Path, text: str, **settings: str) -> Said:
    """What a CSV file says."""
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode("cp1252"))
    return read(path, "labels.csv", SEEN, Labelling.of(read_settings(settings)), AT)


def told(found: Said) -> dict[str, str]:
    return {row.digest: row.label for row in found.taken}


@pytest.mark.parametrize(
    "text",
    [
        "image_id,label\nISIC_01,benign\nISIC_02,malignant\n",
        "Image Name;Diagnosis\nISIC_01.JPG;NEVUS\nisic_02.jpg;Melanoma\n",
        "Rückmeldung der Klinik\n\nfile\ttarget\ninbox/ISIC_01.jpg\t0\ninbox/ISIC_02.jpg\t1.0\n",
        f"sha256,label\n{A.upper()},benign\n{B},malignant\n",
        "sep=;\nisic_id;MEL;NV\nISIC_01;0;1\nISIC_02;1;0\n",
        f"image,sha256,dx\nISIC_01,,benign\nrenamed.jpg,{B},malignant\n",
    ],
)
def test_images_and_labels_are_understood_in_many_shapes(tmp_path: Path, text: str) -> None:
    words = {
        "malignant_values": "malignant, melanoma, 1, MEL",
        "benign_values": "benign, nevus, 0, NV",
    }
    found = said(tmp_path, text, **words)
    assert told(found) == {A: "benign", B: "malignant"}
    assert (found.pending, found.refused) == ((), ())
    assert {row.name for row in found.taken} == {"inbox/ISIC_01.jpg", "inbox/ISIC_02.jpg"}


def test_a_workbook_is_read_and_other_sheets_of_it_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"note": ["hello"]}).to_excel(book, sheet_name="notes", index=False)
        pd.DataFrame({"image": ["ISIC_01"], "target": [1]}).to_excel(
            book, sheet_name="labels", index=False
        )
    found = read(path, path.name, SEEN, Labelling(), AT)
    assert told(found) == {A: "malignant"}


def test_patient_and_lesion_come_along_but_not_what_means_nothing(tmp_path: Path) -> None:
    text = "image,label,patient_id,lesion_id,age\nISIC_01,benign,007,n/a,45\nISIC_02,1,0,L2,\n"
    found = said(tmp_path, text)
    assert [dict(row.facts) for row in found.taken] == [
        {"patient_id": "007", "age": "45"},
        {"lesion_id": "L2"},
    ]


def test_a_label_of_an_image_that_was_not_scored_yet_waits(tmp_path: Path) -> None:
    found = said(tmp_path, f"image,sha256,label\nlate.jpg,,benign\n,{'e' * 64},malignant\n")
    assert [(row.image, row.digest) for row in found.pending] == [
        ("late.jpg", ""),
        ("e" * 64, "e" * 64),
    ]
    assert found.taken == ()


def test_a_name_that_two_images_have_is_asked_about_and_the_path_answers(tmp_path: Path) -> None:
    found = said(tmp_path, "image,label\nIMG_1.png,benign\napril/IMG_1.png,malignant\n")
    assert told(found) == {D: "malignant"}
    (row,) = found.refused
    assert "2 images that were scored: april/IMG_1.png" in row.reason
    assert "`sha256`" in row.reason


def test_a_name_that_two_images_have_is_no_contradiction_to_a_digest(tmp_path: Path) -> None:
    found = said(tmp_path, f"image,sha256,label\nIMG_1.png,{C},benign\nISIC_01,{B},benign\n")
    assert told(found) == {C: "benign"}
    assert "of different images ('ISIC_01')" in found.refused[0].reason


def test_two_labels_of_one_image_in_a_file_are_both_refused(tmp_path: Path) -> None:
    text = "image,label\nISIC_01,benign\nISIC_01.jpg,malignant\nISIC_02,1\nISIC_02,malignant\n"
    found = said(tmp_path, f"{text}late,1\nlate.jpg,0\n")
    assert told(found) == {B: "malignant"}
    assert found.pending == ()
    assert {row.line for row in found.refused} == {2, 3, 6, 7}
    assert "two labels in this file (benign and malignant)" in found.refused[0].reason


def test_an_unknown_word_stops_its_own_row_only_and_names_the_setting(tmp_path: Path) -> None:
    text = "image,dx\nISIC_01,nevus\nISIC_02,bcc\n"
    found = said(tmp_path, text)
    assert told(found) == {A: "benign"}
    assert "class is not known: 'bcc'. Name it in `malignant_values`" in found.refused[0].reason
    assert told(said(tmp_path, text, malignant_values="malignant, bcc")) == {B: "malignant"} | {
        A: "benign"
    }


def test_a_row_without_a_label_is_counted_and_one_of_neither_class_is_kept(tmp_path: Path) -> None:
    found = said(tmp_path, "image,label\nISIC_01,\nISIC_02,Uncertain\nmarch/IMG_1,benign\n")
    assert told(found) == {B: "neither", C: "benign"}
    assert found.blank == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,label\nISIC_01,0.93\nISIC_02,1\n", "these are predictions"),
        ("image,comment\nISIC_01,looks fine\n", "no column has labels"),
        ("number,label\n7,benign\n", "no column names images"),
        ("image,label\nISIC_01,what\nISIC_02,ever\n", "whose class is not known: 'what'"),
        ("image,label,malignant\nISIC_01,benign,1\nISIC_02,malignant,0\n", "say the opposite"),
        ("", "it is empty"),
        ('image,label\n"ISIC_01,benign\n', "unexpected end of data"),
    ],
)
def test_a_file_that_is_not_clear_is_refused_with_what_to_do(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        said(tmp_path, text)


def test_a_digest_that_is_none_is_refused(tmp_path: Path) -> None:
    found = said(tmp_path, f"sha256,label\n{A},benign\nabc,benign\n")
    assert told(found) == {A: "benign"}
    assert "a SHA-256 that is none: 'abc'" in found.refused[0].reason


def test_columns_of_the_training_data_do_not_have_to_be_there(tmp_path: Path) -> None:
    found = said(tmp_path, "image,label\nISIC_01,benign\n", columns="label=Befund, image_id=Bild")
    assert told(found) == {A: "benign"}
