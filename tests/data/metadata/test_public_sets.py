"""Folders in the shape of the public data sets: which labels and ids are read, and what is told.

The tables have the columns, spellings and oddities of the real ones; the images are drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from PIL import Image

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Dataset, load
from skin_pipeline.data import ingesting, manifest, sources
from skin_pipeline.data.metadata import Labelling, Reader
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (shade % 256, 90, 60)).save(file, "JPEG")
    return file.getvalue()


def lay_out(root: Path, images: Iterable[str], **tables: str | bytes | list[Any]) -> Path:
    """Images, and tables by file name with `__` for a dot, as text, bytes or rows of a workbook."""
    for number, name in enumerate(images):
        path = root / (name if "." in name.rpartition("/")[2] else f"{name}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    for name, content in tables.items():
        path = root / name.replace("__", ".")
        if isinstance(content, list):
            book = openpyxl.Workbook()
            for row in content:
                book.active.append(row)
            book.save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def understood(root: Path, **settings: Any) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    """What is known of a folder: label and ids by the image's name, and what is told."""
    reader = Reader(Labelling.of(Settings(**settings)))
    known = reader.read(sources.find(root, reader.labels))
    by_name = {
        item.path.stem: (item.label, row.patient_id, row.lesion_id)
        for item, row in zip(known.images.files, known.table.itertuples(), strict=True)
    }
    return by_name, [str(notice) for notice in known.images.notices]


def asked(root: Path, **settings: Any) -> str:
    with pytest.raises(BadInput) as error:
        understood(root, **settings)
    return str(error.value)


def classes(by_name: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {name: facts[0] for name, facts in by_name.items()}


# --- labels that are none ------------------------------------------------------------------------

SIIM = (
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
    "benign_malignant,target\n"
    "ISIC_1,IP_1,male,45.0,torso,unknown,benign,0\nISIC_2,IP_1,male,45.0,torso,nevus,benign,0\n"
    "ISIC_3,IP_2,female,60.0,torso,melanoma,malignant,1\n"
)
SIIM_TEST = (
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge\n"
    "ISIC_8,IP_3,male,50.0,torso\nISIC_9,IP_3,male,50.0,torso\n"
)
SIIM_IMAGES = [*(f"jpeg/train/ISIC_{i}" for i in (1, 2, 3)), "jpeg/test/ISIC_8", "jpeg/test/ISIC_9"]
SIIM_CLASSES = {"ISIC_1": "benign", "ISIC_2": "benign", "ISIC_3": "malignant"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sample_submission__csv", "image_name,target\nISIC_8,0\nISIC_9,0\n"),
        ("sampleSubmission__csv", "image_name,target\nISIC_8,0\nISIC_9,1\n"),
        ("submission_0_95__csv", "image_name,target\nISIC_8,1\nISIC_9,0\n"),
        ("sample_submission__csv", "image_name,target\nISIC_8,0.5\nISIC_9,0.5\n"),
        ("zeros__csv", "image_name,target\nISIC_8,0\nISIC_9,0\n"),
        ("efficientnet_b4__csv", "image_name,target\nISIC_8,0.93\nISIC_9,0.02\n"),
        ("efficientnet_b4__csv", "image_name,target\nISIC_8,1\nISIC_9,0.02\n"),
        ("my_best__csv", "image_name,target\nISIC_8,1\nISIC_9,0\n"),
        ("predictions__xlsx", [["image_name", "target"], ["ISIC_8", 1], ["ISIC_9", 0]]),
    ],
)
@pytest.mark.parametrize("columns", ["", "label=target"])
def test_placeholders_and_predictions_are_no_labels_and_this_is_told(
    tmp_path: Path, name: str, content: str, columns: str
) -> None:
    tables = {name: content, "train__csv": SIIM, "test__csv": SIIM_TEST}
    by_name, told = understood(lay_out(tmp_path, SIIM_IMAGES, **tables), columns=columns)
    assert classes(by_name) == SIIM_CLASSES
    (about,) = [line for line in told if line.startswith(name.replace("__", "."))]
    assert "found, not used as labels, because" in about
    assert any(line.startswith("(no row) (2): left out") for line in told)


def test_the_placeholders_of_a_test_set_do_not_contradict_class_folders(tmp_path: Path) -> None:
    images = ["benign/ISIC_1", "malignant/ISIC_2", "malignant/ISIC_3"]
    zeros = "image_name,target\nISIC_1,0\nISIC_2,0\nISIC_3,0\n"
    by_name, told = understood(lay_out(tmp_path, images, zeros__csv=zeros))
    assert classes(by_name) == {"ISIC_1": "benign", "ISIC_2": "malignant", "ISIC_3": "malignant"}
    assert [line for line in told if "has one class only ('0')" in line]


def test_real_labels_of_a_test_set_in_a_table_of_their_own_are_used(tmp_path: Path) -> None:
    truth = "image_name,target\nISIC_8,1\nISIC_9,0\n"
    root = lay_out(
        tmp_path,
        SIIM_IMAGES,
        train__csv=SIIM,
        test__csv=SIIM_TEST,
        ISIC_2020_Test_GroundTruth__csv=truth,
    )
    found = classes(understood(root)[0])
    assert found == {**SIIM_CLASSES, "ISIC_8": "malignant", "ISIC_9": "benign"}


def test_a_table_for_each_class_is_asked_about_and_used_when_the_column_is_named(
    tmp_path: Path,
) -> None:
    root = lay_out(
        tmp_path,
        ["a", "b"],
        NV__csv="isic_id,benign_malignant\na,benign\n",
        MEL__csv="isic_id,benign_malignant\nb,malignant\n",
        sample_submission__csv="isic_id,benign_malignant\nb,benign\n",
    )
    assert "label=benign_malignant in `columns`" in asked(root)
    found, told = understood(root, columns="label=benign_malignant")
    assert classes(found) == {"a": "benign", "b": "malignant"}
    assert "sample_submission.csv: found, not used as labels" in str(told)


def test_the_only_table_is_used_whatever_it_is_called_when_its_column_is_named(
    tmp_path: Path,
) -> None:
    root = lay_out(tmp_path, ["a", "b"], sample__csv="image,dx\na,nv\nb,mel\n")
    values = {"malignant_values": "mel", "benign_values": "nv"}
    assert "sample.csv: its name says placeholders" in asked(root, **values)
    found = classes(understood(root, columns="label=dx", **values)[0])
    assert found == {"a": "benign", "b": "malignant"}


# --- neither class -------------------------------------------------------------------------------

EXPORT = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,benign_malignant,"
    "diagnosis,patient_id\n"
    "a,MSK,CC-0,45,torso,benign,nevus,P1\nb,MSK,CC-0,,,malignant,melanoma,P2\n"
    "c,MSK,CC-0,,,indeterminate,nevus,P3\nd,MSK,CC-0,,,indeterminate/malignant,melanoma,P4\n"
    "e,MSK,CC-0,,,,,P5\n"
)


def test_the_indeterminate_of_an_archive_export_are_left_out_and_counted(tmp_path: Path) -> None:
    by_name, told = understood(lay_out(tmp_path, "abcde", metadata__csv=EXPORT))
    assert classes(by_name) == {"a": "benign", "b": "malignant"}
    assert "indeterminate/malignant: left out, because this means neither class" in str(told)
    assert "(empty): left out, because no table says which class" in str(told)


def test_a_value_of_neither_class_leaves_an_image_out_of_its_class_folder(tmp_path: Path) -> None:
    images = ["benign/a", "malignant/b", "benign/c", "malignant/d", "benign/e"]
    by_name, told = understood(lay_out(tmp_path, images, metadata__csv=EXPORT))
    assert classes(by_name) == {"a": "benign", "b": "malignant", "e": "benign"}
    assert len([line for line in told if "neither class" in line]) == 2


def test_one_strange_value_is_asked_about_and_never_makes_another_column_the_label(
    tmp_path: Path,
) -> None:
    text = EXPORT.replace("c,MSK,CC-0,,,indeterminate,", "c,MSK,CC-0,,,borderline,").replace(
        "e,MSK,CC-0,,,,,", "e,MSK,CC-0,,,benign,nevus,"
    )
    root = lay_out(tmp_path, "abcde", metadata__csv=text)
    message = asked(root)
    assert "column 'benign_malignant'" in message
    assert "'borderline' (1)" in message
    assert "`neither_values`" in message
    found = classes(understood(root, neither_values="borderline, indeterminate/malignant")[0])
    assert found == {"a": "benign", "b": "malignant", "e": "benign"}


def test_the_newer_export_of_the_archive_is_read(tmp_path: Path) -> None:
    """HIBA and BCN20000 come like this from the archive."""
    text = (
        "isic_id,attribution,copyright_license,diagnosis_1,diagnosis_2,diagnosis_3,image_type,"
        "lesion_id,patient_id,sex\n"
        "a,Hospital,CC-BY,Benign,Benign melanocytic,Nevus,dermoscopic,IL_1,IP_1,male\n"
        'b,Hospital,CC-BY,Malignant,"Malignant, epidermal","Melanoma, NOS",dermoscopic,IL_2,IP_2,\n'
        "c,Hospital,CC-BY,Indeterminate,,,dermoscopic,IL_3,IP_3,\n"
    )
    by_name, _ = understood(
        lay_out(tmp_path, "abc", metadata__csv=text, attribution__txt="Hospital, of somewhere\n")
    )
    assert by_name == {"a": ("benign", "IP_1", "IL_1"), "b": ("malignant", "IP_2", "IL_2")}


# --- one-hot labels ------------------------------------------------------------------------------

ISIC_2019 = (
    "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    "a,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\nb,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
    "c,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0\nd,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
)
ISIC_2019_METADATA = (
    "image,age_approx,anatom_site_general,lesion_id,sex\na,55.0,torso,BCN_1,male\n"
    "b,30.0,head/neck,BCN_2,female\nc,60.0,,,male\nd,70.0,,MSK4_1,male\n"
)
NAMED = {"malignant_values": "MEL, BCC, SCC", "benign_values": "NV, BKL, DF, VASC"}


@pytest.mark.parametrize("columns", ["", "label=MEL"])
def test_a_one_hot_table_is_asked_about_until_every_class_is_named(
    tmp_path: Path, columns: str
) -> None:
    root = lay_out(tmp_path, "abcd", GroundTruth__csv=ISIC_2019, Metadata__csv=ISIC_2019_METADATA)
    message = asked(root, columns=columns)
    assert "GroundTruth.csv: the labels have a column a class" in message
    assert "'BCC' (1)" in message
    assert "'AK' (1)" in asked(root, columns=columns, **NAMED)
    by_name, told = understood(root, columns=columns, neither_values="AK", **NAMED)
    assert by_name == {
        "a": ("malignant", "", "BCN_1"),
        "b": ("benign", "", "BCN_2"),
        "c": ("malignant", "", ""),
    }
    assert any(line.startswith("AK: left out") for line in told)


def test_several_label_columns_are_named_in_one_mapping(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "abcd", GroundTruth__csv=ISIC_2019)
    columns = "label=MEL, label=BCC"
    assert "'none of them' (2)" in asked(root, columns=columns, malignant_values="MEL, BCC")
    found = understood(
        root, columns=columns, malignant_values="MEL, BCC", benign_values="none of them"
    )
    assert classes(found[0]) == {"a": "malignant", "b": "benign", "c": "malignant", "d": "benign"}


def test_one_of_two_exclusive_columns_is_the_label_once_the_other_is_named(tmp_path: Path) -> None:
    """ISIC 2017: what is neither melanoma nor seborrheic keratosis is a nevus."""
    text = (
        "image_id,melanoma,seborrheic_keratosis\na,0.000000000000000000e+00,0.0\nb,1.0,0.0\n"
        "c,0.0,1.0\n"
    )
    root = lay_out(tmp_path, "abc", GroundTruth__csv=text)
    assert "label=melanoma" in asked(root)
    assert "'seborrheic_keratosis' (1)" in asked(root, columns="label=melanoma")
    found = understood(
        root, columns="label=melanoma", benign_values="0, nevus, seborrheic_keratosis"
    )
    assert classes(found[0]) == {"a": "benign", "b": "malignant", "c": "benign"}


ISIC_2017 = (
    "image_id,melanoma,seborrheic_keratosis\n"
    "ISIC_1,1.0,0.0\nISIC_2,0.0,1.0\nISIC_3,0.0,0.0\nISIC_4,0.0,0.0\n"
)


def test_columns_that_are_called_after_classes_are_labels_though_some_rows_have_none(
    tmp_path: Path,
) -> None:
    root = lay_out(tmp_path, [f"ISIC_{i}" for i in (1, 2, 3, 4)], truth__csv=ISIC_2017)
    named = {"malignant_values": "melanoma", "benign_values": "seborrheic_keratosis"}
    assert "the class of these is not known: 'none of them' (2)" in asked(root, **named)
    named["benign_values"] += ", none of them"
    found, _ = understood(root, **named)
    assert classes(found) == {
        "ISIC_1": "malignant",
        "ISIC_2": "benign",
        "ISIC_3": "benign",
        "ISIC_4": "benign",
    }


def test_marks_of_both_classes_are_asked_about_where_the_settings_name_the_columns(
    tmp_path: Path,
) -> None:
    text = "image,MEL,NV\nISIC_1,1,1\nISIC_2,0,1\nISIC_3,1,0\n"
    root = lay_out(tmp_path, [f"ISIC_{i}" for i in (1, 2, 3)], truth__csv=text)
    told = asked(root, malignant_values="MEL", benign_values="NV")
    assert "columns of both classes are set for one image (MEL + NV)" in told


def test_numbered_columns_are_features_and_no_classes(tmp_path: Path) -> None:
    text = "image,0,1,target\nISIC_1,0,1,0\nISIC_2,0,0,1\nISIC_3,1,1,1\n"
    root = lay_out(tmp_path, [f"ISIC_{i}" for i in (1, 2, 3)], m__csv=text)
    assert list(classes(understood(root)[0]).values()) == ["benign", "malignant", "malignant"]


def test_a_column_and_a_one_hot_table_that_say_the_opposite_are_asked_about(
    tmp_path: Path,
) -> None:
    text = "image,MEL,NV,target\nISIC_1,1,0,0\nISIC_2,0,1,1\nISIC_3,1,0,0\n"
    root = lay_out(tmp_path, [f"ISIC_{i}" for i in (1, 2, 3)], m__csv=text)
    told = asked(root, malignant_values="MEL, 1", benign_values="NV, 0")
    assert "columns 'target' and 'MEL, NV' say the opposite of 3 images" in told
    found, _ = understood(
        root, malignant_values="MEL, 1", benign_values="NV, 0", columns="label=target"
    )
    assert list(classes(found).values()) == ["benign", "malignant", "benign"]


def test_milk10ks_labels_of_lesions_are_told_with_what_they_are_about(tmp_path: Path) -> None:
    truth = "lesion_id,MEL,NV\nIL_1,1.0,0.0\nIL_2,0.0,1.0\n"
    images = "lesion_id,isic_id\nIL_1,ISIC_1\nIL_1,ISIC_2\nIL_2,ISIC_3\n"
    root = lay_out(tmp_path, [f"ISIC_{i}" for i in (1, 2, 3)], truth__csv=truth, images__csv=images)
    assert "it names no image, but has a row for each lesion_id: add the names" in asked(root)


def test_a_row_without_any_mark_says_nothing_of_its_image(tmp_path: Path) -> None:
    one_hot = "image,melanoma,nevus\na,1,0\nb,0,1\nc,,\n"
    found, told = understood(lay_out(tmp_path / "one", "abc", t__csv=one_hot))
    assert classes(found) == {"a": "malignant", "b": "benign"}
    assert "(empty): left out, because no table says" in str(told)
    mapped = "image,melanoma,ulcer\na,1,0\nb,0,1\nc,,\nd,0,0\n"
    root = lay_out(tmp_path / "two", "abcd", t__csv=mapped)
    found, _ = understood(root, columns="label=melanoma", benign_values="0, ulcer")
    assert classes(found) == {"a": "malignant", "b": "benign", "d": "benign"}


def test_marks_for_both_classes_of_one_image_are_asked_about(tmp_path: Path) -> None:
    root = lay_out(tmp_path, "abc", t__csv="image,MEL,NV\na,1,0\nb,0,1\nc,1,1\n")
    message = asked(root, columns="label=MEL,label=NV", malignant_values="MEL", benign_values="NV")
    assert "columns of both classes are set for one image (MEL + NV)" in message


def test_one_hot_predictions_are_no_labels(tmp_path: Path) -> None:
    text = "image,MEL,NV\na,0.7,0.3\nb,0.2,0.8\n"
    assert "no column is known to have the label" in asked(
        lay_out(tmp_path, "ab", scores__csv=text), malignant_values="MEL", benign_values="NV"
    )


# --- tables that were not seen -------------------------------------------------------------------


def test_ham10000s_table_without_a_suffix_is_read_beside_that_of_the_archive(
    tmp_path: Path,
) -> None:
    ham = (
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
        "HAM_1,ISIC_1,nv,histo,45.0,male,scalp,vidir_modern\n"
        "HAM_1,ISIC_2,nv,histo,45.0,male,scalp,vidir_modern\n"
        "HAM_2,ISIC_3,mel,histo,80.0,female,back,rosendahl\n"
    )
    export = (
        "isic_id,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_1,45,head/neck,IL_1,male\nISIC_2,45,head/neck,IL_7,male\nISIC_3,,torso,IL_7,female\n"
    )
    pixels = ",".join(f"pixel{i:04d}" for i in range(2352)) + ",label\n"
    pixels += (",".join(["200"] * 2352) + ",2\n") * 30
    root = lay_out(
        tmp_path,
        ["part_1/ISIC_1", "part_1/ISIC_2", "part_2/ISIC_3"],
        HAM10000_metadata=ham,
        zz_metadata__csv=export,
        hmnist_28_28_RGB__csv=pixels,
        README="HAM10000, as collected over many years, comes with no warranty.\n" * 9,
    )
    values = {"malignant_values": "mel, bcc", "benign_values": "nv, bkl"}
    by_name, told = understood(root, **values)
    # HAM_1 and IL_7 share an image, so does IL_7 with HAM_2: all are kept together.
    assert {facts[2] for facts in by_name.values()} == {"HAM_1"}
    assert classes(by_name) == {"ISIC_1": "benign", "ISIC_2": "benign", "ISIC_3": "malignant"}
    assert "site (3): differs between tables or rows, the first is used" in str(told)
    assert "lesion_id (3): several of one image, kept together" in str(told)
    assert "hmnist_28_28_RGB.csv: found, not used, because it has 2,353 columns" in str(told)
    assert "README: found" not in str(told)


PH2 = [
    *([["PH2 dataset"], [], ["Asymmetry", "0 - fully symmetric"], ["Colours", "1 - white"]]),
    ["Image Name", "Histological Diagnosis", "Common Nevus", "Atypical Nevus", "Melanoma", "Asym"],
    ["IMD003", "Compound nevus", "X", None, None, 0],
    ["IMD004", None, None, "X", None, 1],
    ["IMD005", "Melanoma", None, None, "X", 2],
]
PH2_TEXT = (
    "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||\n"
    "|| IMD003 || Compound nevus         ||        0           ||     0     ||\n"
    "|| IMD004 ||                        ||        1           ||     1     ||\n"
    "|| IMD005 || Melanoma               ||        2           ||     2     ||\n"
    "\nLegend:\nClinical Diagnosis:\n\t0 - Common Nevus;\n\t1 - Atypical Nevus;\n"
)
PH2_IMAGES = [f"PH2/IMD00{i}/IMD00{i}_Dermoscopic_Image/IMD00{i}" for i in (3, 4, 5)]


def test_ph2s_workbook_with_rows_above_its_header_is_read(tmp_path: Path) -> None:
    root = lay_out(tmp_path, PH2_IMAGES, PH2_dataset__xlsx=PH2)
    assert "'Common Nevus' (1)" in asked(root)
    found = understood(root, benign_values="common nevus, atypical nevus")
    assert classes(found[0]) == {"IMD003": "benign", "IMD004": "benign", "IMD005": "malignant"}


def test_ph2s_text_table_is_read(tmp_path: Path) -> None:
    root = lay_out(tmp_path, PH2_IMAGES, PH2_dataset__txt=PH2_TEXT)
    assert "'Clinical Diagnosis'" in asked(root)
    found = understood(
        root, columns="label=Clinical Diagnosis", malignant_values="2", benign_values="0, 1"
    )
    assert classes(found[0]) == {"IMD003": "benign", "IMD004": "benign", "IMD005": "malignant"}


@pytest.mark.parametrize(
    "text",
    ["ISIC_0000000,benign\nISIC_0000001,malignant\n", "ISIC_0000000,0.0\nISIC_0000001,1.0\n"],
)
def test_isic_2016s_table_without_a_header_is_asked_about_with_its_columns(
    tmp_path: Path, text: str
) -> None:
    root = lay_out(tmp_path, ["ISIC_0000000", "ISIC_0000001"], GroundTruth__csv=text)
    message = asked(root)
    assert "GroundTruth.csv" in message
    assert "image_id=column 1" in message
    found = understood(root, columns="image_id=column 1, label=column 2")
    assert classes(found[0]) == {"ISIC_0000000": "benign", "ISIC_0000001": "malignant"}


# --- columns of unusual names --------------------------------------------------------------------


def test_derm7pts_columns_are_named_with_the_settings_that_would_help(tmp_path: Path) -> None:
    meta = (
        "case_num,diagnosis,seven_point_score,location,sex,management,clinic,derm,case_id,notes\n"
        "1,basal cell carcinoma,0,abdomen,female,excision,NEL/NEL025.JPG,NEL/Nel026.jpg,,\n"
        "2,clark nevus,1,back,male,excision,NEL/NEL027.JPG,NEL/Nel028.jpg,,\n"
        "3,melanoma (in situ),1,back,male,excision,NEL/NEL029.JPG,NEL/Nel030.jpg,,\n"
    )
    images = [f"images/NEL/{name}" for name in ("NEL025", "Nel026", "NEL027", "Nel028", "Nel030")]
    root = lay_out(tmp_path, images, meta__csv=meta, train_indexes__csv="indexes\n0\n1\n")
    message = asked(root)
    assert "image_id=derm (it names 3 images)" in message
    assert "'case_num', 'diagnosis'" in message
    assert "no images of class" not in message
    message = asked(root, columns="image_id=derm")
    assert "'clark nevus' (1)" in message
    values = {
        "malignant_values": "melanoma (in situ), basal cell carcinoma",
        "benign_values": "clark nevus",
    }
    found, told = understood(root, columns="image_id=derm, label=diagnosis", **values)
    assert classes(found) == {"Nel026": "malignant", "Nel028": "benign", "Nel030": "malignant"}
    assert "train_indexes.csv: found, not used, because it names no image" in str(told)
    both = understood(root, columns="image_id=derm, image_id=clinic, label=diagnosis", **values)
    assert len(both[0]) == 5


def test_ddis_and_fitzpatricks_columns_are_named_with_the_settings_that_would_help(
    tmp_path: Path,
) -> None:
    ddi = (
        ",DDI_ID,DDI_file,skin_tone,malignant,disease\n0,1,000001.png,56,True,melanoma-in-situ\n"
        "1,2,000002.png,56,False,nevus\n"
    )
    root = lay_out(tmp_path / "ddi", ["000001.png", "000002.png"], ddi_metadata__csv=ddi)
    assert "image_id=DDI_file" in asked(root)
    found = classes(understood(root, columns="image_id=DDI_file")[0])
    assert found == {"000001": "malignant", "000002": "benign"}

    one, two, three = "5e82a45bc5d78bd24ae9202d194423f8", "fa2911a9b13b6f8af79cb700937cc14f", "a9"
    fitzpatrick = (
        "md5hash,fitzpatrick_scale,label,nine_partition_label,three_partition_label,qc,url\n"
        f"{one},3,drug induced pigmentary changes,inflammatory,non-neoplastic,,http://x/1\n"
        f"{two},1,photodermatoses,inflammatory,malignant,,http://x/2\n"
        f"{three},1,nevus sebaceous,benign epidermal,benign,,http://x/3\n"
    )
    root = lay_out(tmp_path / "fitz", [one, two, three], fitzpatrick17k__csv=fitzpatrick)
    assert "image_id=md5hash" in asked(root)
    message = asked(root, columns="image_id=md5hash")
    assert "label=three_partition_label (its values: 'non-neoplastic', 'malignant'" in message
    columns = "image_id=md5hash, label=three_partition_label"
    found = classes(understood(root, columns=columns, neither_values="non-neoplastic")[0])
    assert found == {two: "malignant", three: "benign"}


def test_pad_ufes_and_bcn20000_are_read_with_their_classes_named(tmp_path: Path) -> None:
    pad = (
        "patient_id,lesion_id,smoke,gender,region,diagnostic,itch,img_id,biopsed\n"
        "PAT_1,881,False,MALE,NECK,NEV,False,PAT_1_881_939.png,False\n"
        "PAT_1,882.0,,MALE,FACE,MEL,True,PAT_1_882_940.png,True\n"
        "PAT_2,883,,FEMALE,FACE,ACK,True,PAT_2_883_941.png,False\n"
    )
    images = [f"imgs_part_1/PAT_{n}.png" for n in ("1_881_939", "1_882_940", "2_883_941")]
    root = lay_out(tmp_path / "pad", images, metadata__csv=pad)
    assert "column 'diagnostic' has values whose class is not known: 'NEV' (1)" in asked(root)
    found, _ = understood(root, malignant_values="MEL", benign_values="NEV", neither_values="ACK")
    assert found == {
        "PAT_1_881_939": ("benign", "PAT_1", "881"),
        "PAT_1_882_940": ("malignant", "PAT_1", "882"),
    }
    bcn = (
        "bcn_filename,age_approx,anatom_site_general,diagnosis,lesion_id,capture_date,sex,split\n"
        "BCN_0000000001.jpg,55.0,anterior torso,MEL,BCN_0003884,2012-05-16,male,train\n"
        "BCN_0000000003.jpg,50.0,anterior torso,NV,BCN_0000019,2015-07-09,female,train\n"
    )
    root = lay_out(tmp_path / "bcn", ["BCN_0000000001", "BCN_0000000003"], bcn_20k_train__csv=bcn)
    assert "image_id=bcn_filename" in asked(root)
    found, _ = understood(
        root, columns="image_id=bcn_filename", malignant_values="mel", benign_values="nv"
    )
    assert found == {
        "BCN_0000000001": ("malignant", "", "BCN_0003884"),
        "BCN_0000000003": ("benign", "", "BCN_0000019"),
    }


def test_the_older_archives_dotted_columns_are_read(tmp_path: Path) -> None:
    text = (
        "_id,name,meta.clinical.benign_malignant,meta.clinical.sex,meta.clinical.age_approx\n"
        "5436e3ab,ISIC_1,benign,male,55\n5436e3ac,ISIC_2,malignant,female,40\n"
    )
    root = lay_out(tmp_path, ["ISIC_1", "ISIC_2"], export__csv=text)
    assert classes(understood(root)[0]) == {"ISIC_1": "benign", "ISIC_2": "malignant"}


# --- through the step ----------------------------------------------------------------------------


def test_what_ingest_found_and_did_not_use_is_in_its_result_and_its_log(
    tmp_path: Path, make_job: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    root = lay_out(
        tmp_path / "set",
        SIIM_IMAGES,
        train__csv=SIIM.replace("IP_2", "-1"),
        test__csv=SIIM_TEST,
        sample_submission__csv="image_name,target\nISIC_8,0\nISIC_9,0\n",
        COUNTRIES__CSV="country,capital\nFrance,Paris\n",
    )
    job = make_job(data=str(root), weights="imagenet")
    with caplog.at_level("INFO"):
        key = ingesting.data_set(job, 3, job.settings.data, job.settings)
    dataset = load(job.store, key, Dataset)
    assert dataset.classes == {"benign": 2, "malignant": 1}
    table = manifest.read(job.store, dataset.table)
    assert list(table["patient_id"]) == ["IP_1", "IP_1", ""]
    told = {(notice.kind, notice.subject, notice.count) for notice in dataset.notices}
    assert told == {
        ("table_not_used", "COUNTRIES.CSV", 1),
        ("labels_not_used", "sample_submission.csv", 1),
        ("id_missing", "patient_id -1", 1),
        ("images_left_out", "(no row)", 2),
    }
    assert 'table_not_used subject="COUNTRIES.CSV"' in caplog.text
