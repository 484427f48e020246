"""What the tables beside the images may look like, and what is made of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skin_pipeline.config import Settings
from skin_pipeline.data.metadata import METADATA, Known, Labelling, Reader, reader
from skin_pipeline.data.sources import Found, Images, find
from skin_pipeline.errors import BadInput

Write = Callable[..., tuple[Path, ...]]
KEYS = ["benign/a.jpg", "benign/b.jpg", "malignant/c.jpg", "malignant/d.JPG"]
FILES = [Found(key.split("/")[0], key, Path(key)) for key in KEYS]
GOOD = "image_name,patient_id,benign_malignant\na,P1,benign\nb,P2,benign\nc,P3,malignant\nd,P4,1\n"


@pytest.fixture
def tables(tmp_path: Path) -> Write:
    """Writes tables: text or bytes; their paths."""

    def write(*contents: str | bytes) -> tuple[Path, ...]:
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"info{number}.csv")
            data = content if isinstance(content, bytes) else content.encode()
            paths[-1].write_bytes(data)
        return tuple(paths)

    return write


USUAL = Labelling()


def known(paths: Sequence[Path], files: Sequence[Found], labelling: Labelling) -> Known:
    """What is known, where class folders say which image is which."""
    return Reader(labelling).read(Images(tuple(files), tuple(paths)))


def read(paths: Sequence[Path], files: Sequence[Found], labelling: Labelling) -> pd.DataFrame:
    return known(paths, files, labelling).table


def labels(paths: Sequence[Path], keys: Sequence[str], labelling: Labelling) -> list[str]:
    return Reader(labelling).labels(paths, keys)


def told(paths: Sequence[Path], labelling: Labelling = USUAL) -> list[str]:
    """The notices, as people see them."""
    return [str(notice) for notice in known(paths, FILES, labelling).images.notices]


def patients(paths: Sequence[Path], labelling: Labelling = USUAL) -> list[str]:
    return list(read(paths, FILES, labelling)["patient_id"])


# --- shapes that are understood ------------------------------------------------------------------

IN_ORDER = ["P1", "P2", "P3", "P4"]
UNDERSTOOD = {
    "as it should be": GOOD,
    "only ids": "image_id,patient_id\na,P1\nb,P2\nc,P3\nd,P4\n",
    "other names of columns": "Filename,Patient No.\na,P1\nb,P2\nc,P3\nd,P4\n",
    "spaces and case": " Image Name , PATIENT-ID \n a , P1 \nb,P2\nc, P3\nd,P4\n",
    "file names": "image,patient\na.jpg,P1\nb.JPG,P2\nc.jpeg,P3\nd.png,P4\n",
    "paths": "path,patient\nbenign/a.jpg,P1\nx/benign/b.jpg,P2\n./malignant/c.jpg,P3\nd,P4\n",
    "Windows paths": "path,patient\nC:\\x\\a.jpg,P1\nb,P2\nmalignant\\c.jpg,P3\nd,P4\n",
    "other case": "image,patient\nA.JPG,P1\nB,P2\nC,P3\nD,P4\n",
    "Windows line ends": GOOD.replace("\n", "\r\n"),
    "old Mac line ends": GOOD.replace("\n", "\r"),
    "no line end at the end": GOOD.rstrip(),
    "empty lines": GOOD.replace("\n", "\n\n ,,\n"),
    "semicolons": GOOD.replace(",", ";"),
    "tabs": GOOD.replace(",", "\t"),
    "bars": GOOD.replace(",", "|"),
    "BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16, other order": b"\xfe\xff" + GOOD.encode("utf-16-be"),
    "another encoding": (GOOD + "z,Müller,benign\n").encode("cp1252"),
    "no encoding at all": GOOD.encode() + b"z,\x81\x8d,benign\n",
    "quotes": 'image_name,patient_id,note\na,P1,"x, ""y"""\nb,P2,"two\nlines"\nc,P3,\nd,P4,\n',
    "short rows": "image_name,patient_id,sex,age\na,P1\nb,P2,male\nc,P3\nd,P4,,45\n",
    "empty values too many": "image_name,patient_id\na,P1,,\nb,P2,\nc,P3\nd,P4\n",
    "extra rows": GOOD + "other,P9,benign\nanother,P8,malignant\n",
    "duplicated rows": GOOD + "a,P1,benign\na,P1,benign\n",
    "rows that add up": "image_id,patient_id,sex\na,P1,\na,,male\nb,P2,\nc,P3,\nd,P4,\n",
    "another index first": "n,image,patient_id\n0,a,P1\n1,b,P2\n2,c,P3\n3,d,P4\n",
    "an id that is no image": "id,image,patient_id\n7,a,P1\n8,b,P2\n9,c,P3\n6,d,P4\n",
}


@pytest.mark.parametrize("content", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_tables_of_many_shapes_are_understood(tables: Write, content: str | bytes) -> None:
    assert patients(tables(content)) == IN_ORDER


def test_without_a_table_nothing_is_known() -> None:
    known = read((), FILES, Labelling())
    assert list(known.columns) == list(METADATA)
    assert (known == "").all(axis=None)
    assert list(known.index) == [0, 1, 2, 3]


def test_missing_rows_leave_their_images_unknown(
    tables: Write, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert patients(tables("image,patient\na,P1\nc,P3\nzz,P9\n")) == ["P1", "", "P3", ""]
    assert "rows=3 about_images=2 about_others=1 images_without_row=2" in caplog.text


@pytest.mark.parametrize("word", ["", "NA", "nan", "NaN", "Unknown", "none", "NULL", "-", "n/a"])
def test_an_unknown_patient_is_nobody(tables: Write, word: str) -> None:
    assert patients(tables(f"image,patient\na,{word}\nb,{word}\nc,P3\nd,P4\n"))[:2] == ["", ""]


def test_all_metadata_are_found_under_their_usual_names(tables: Write) -> None:
    text = (
        "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge\n"
        "a,P1,L1,male,45.0,torso\nb,P1,L2,female,,palms/soles\n"
    )
    known = read(tables(text), FILES, Labelling())
    assert known.iloc[:2].to_dict("list") == {
        "patient_id": ["P1", "P1"],
        "lesion_id": ["L1", "L2"],
        "sex": ["male", "female"],
        "age": ["45.0", ""],
        "site": ["torso", "palms/soles"],
    }


def test_several_tables_are_used_together_and_others_told(tables: Write) -> None:
    paths = tables(
        "image,patient\na,P1\nb,P2\nc,P3\nd,P4\n",
        "image,sex\na,male\nb,male\nc,female\nd,female\n",
        "country,capital\nFrance,Paris\n",
        "image,patient\nx1,Q\nx2,Q\nx3,Q\na,Q\n",
    )
    table = read(paths, FILES, Labelling())
    assert list(table["patient_id"]) == IN_ORDER
    assert list(table["sex"]) == ["male", "male", "female", "female"]
    capitals, others = told(paths)
    assert capitals == (
        "info2.csv: found, not used, because it names no image. "
        "info2.csv has the columns 'country', 'capital'"
    )
    assert "info3.csv: found, not used, because few of its rows name images (1 of 4)" in others
    assert "give image_id=image in `columns` to use it" in others


def test_a_path_decides_between_images_of_one_name(tables: Write) -> None:
    files = [Found("benign", "benign/a.jpg", Path()), Found("malignant", "malignant/a.jpg", Path())]
    text = "image,patient\nbenign/a.jpg,P1\nmalignant/a.jpg,P2\n"
    assert list(read(tables(text), files, Labelling())["patient_id"]) == ["P1", "P2"]


def test_files_that_are_no_tables_are_told_and_no_obstacle(tables: Write) -> None:
    junk = tables(b"\x00\x01\x02" * 300, b"", b"\n\n", 'x\n"never closed\n', "x y z\n1,2,3\n")
    assert patients(junk) == [""] * 4
    binary, unclosed, uneven = told(junk)
    assert binary.startswith("info0.csv: found, not used, because it has NUL characters")
    assert unclosed.startswith("info3.csv: found, not used, because line 2: unexpected end of data")
    assert uneven.startswith("info4.csv: found, not used, because line 2 has 3 values")


# --- what is refused -----------------------------------------------------------------------------

REFUSED = {
    "unclosed quote": ('image,patient\na,"P1\nb,P2\n', "info0.csv names images but is not a read"),
    "too many values": ("image,patient\na,P1\nb,P2,x,y\n", "line 3 has 4 values, the header has 2"),
    "NUL characters": ("image,patient\na,P1\0\nb,P2\n", "NUL characters"),
    "two columns of one name": (
        "image,patient_id,patient_id\na,P1,P2\nb,P1,P1\nc,P1,P1\nd,,\n",
        "info0.csv has 2 columns of one name: 'patient_id', 'patient_id'",
    ),
    "rows that disagree": (
        GOOD + "a,P1,malignant\n",
        r"benign/a.jpg: label is 'benign' \(info0.csv, line 2, column 'benign_m\w+'\) and 'malig",
    ),
    "a label against the folder": (
        GOOD.replace("c,P3,malignant", "c,P3,benign"),
        r"1 images have another label .* malignant/c.jpg is in malignant/, "
        r"but the table says 'benign'",
    ),
}


@pytest.mark.parametrize(
    ("content", "message"),
    [v for v in REFUSED.values() if v[1]],
    ids=[k for k in REFUSED if REFUSED[k][1]],
)
def test_tables_about_the_images_that_cannot_be_right_are_refused(
    tables: Write, content: str | bytes, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        patients(tables(content))


def test_a_bare_name_for_images_of_both_classes_is_a_contradiction(tables: Write) -> None:
    files = [Found("benign", "benign/a.jpg", Path()), Found("malignant", "malignant/a.jpg", Path())]
    files.append(Found("malignant", "malignant/b.jpg", Path()))
    with pytest.raises(
        BadInput, match=r"malignant/a.jpg is in malignant/, but the table says 'benign'"
    ):
        read(tables("image,label\na,benign\nb,malignant\n"), files, Labelling())


def test_long_lists_of_contradictions_are_cut(tables: Write) -> None:
    files = [Found("benign", f"benign/i{i}.jpg", Path()) for i in range(30)]
    files.append(Found("benign", "benign/sound.jpg", Path()))
    text = "image,label\nsound,benign\n" + "".join(f"i{i},malignant\n" for i in range(30))
    with pytest.raises(BadInput, match=r"30 images have another label .* and 20 more"):
        read(tables(text), files, Labelling())


# --- ids -----------------------------------------------------------------------------------------

MISSING = [
    *("-1", "0", "0.0", "-1.0", "unknown", "Unknown", "NA", "N/A", "none", "None", "nan", "NULL"),
    *("-", "--", "?", "*", "n.a.", "<NA>", "#N/A", "not available", "-999", "anonymous", "\u2014"),
]


@pytest.mark.parametrize("word", MISSING)
@pytest.mark.parametrize("kind", ["patient_id", "lesion_id"])
def test_a_filler_is_no_id_and_this_is_counted(tables: Write, kind: str, word: str) -> None:
    paths = tables(f"image,{kind}\na,{word}\nb,{word}\nc,P3\nd,P4\n")
    assert list(read(paths, FILES, USUAL)[kind]) == ["", "", "P3", "P4"]
    assert told(paths) == [f"{kind} {word} (2): read as missing: it means no id"]


def test_a_number_is_one_id_whether_written_as_integer_or_float(tables: Write) -> None:
    first = "image,patient_id\na,123\nb,123.0\n"
    second = "image,patient_id\nc,123.00\nd,0123\n"
    assert len(set(patients(tables(first, second)))) == 1


@pytest.mark.parametrize("name", ["Nan Ah", "Nil1", "None-7", "NA12", "Zero", "10", "unknown7"])
def test_a_patient_whose_name_is_like_a_filler_is_somebody(tables: Write, name: str) -> None:
    assert patients(tables(f"image,patient_id\na,{name}\nb,{name}\nc,P3\nd,P4\n"))[0] == name


def test_ids_of_several_tables_are_all_links(tables: Write) -> None:
    """HAM10000 calls the lesions otherwise than the ISIC archive."""
    ham = "image_id,lesion_id\na,HAM_1\nb,HAM_1\nc,HAM_2\nd,HAM_3\n"
    archive = "isic_id,lesion_id\na,IL_1\nb,IL_2\nc,IL_2\nd,IL_3\n"
    for paths in (tables(ham, archive), tables(archive, ham)):
        lesions = list(read(paths, FILES, USUAL)["lesion_id"])
        assert lesions == ["HAM_1", "HAM_1", "HAM_1", "HAM_3"]
    (line,) = told(tables(ham, archive))
    assert line.startswith("lesion_id (4): several of one image, kept together as one: benign/a")


def test_two_patients_of_one_image_are_kept_together(tables: Write) -> None:
    assert patients(tables(GOOD + "a,P4,benign\n")) == ["P1", "P2", "P3", "P1"]


LINKS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("PQRST")), min_size=1, max_size=8)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=LINKS, second=LINKS)
def test_images_that_share_any_id_of_any_table_have_one_patient(
    tables: Write, first: list[tuple[int, str]], second: list[tuple[int, str]]
) -> None:
    names = [key.split("/")[1] for key in KEYS]
    texts = [
        "image,patient_id\n" + "".join(f"{names[image]},{who}\n" for image, who in rows)
        for rows in (first, second)
    ]
    found = patients(tables(*texts))
    for image, who in first + second:
        for other, same in first + second:
            assert who != same or found[image] == found[other] != ""


# --- what differs --------------------------------------------------------------------------------


def test_spellings_that_differ_stop_no_run_and_are_told(tables: Write) -> None:
    paths = tables(
        "image,site,sex,age\na,scalp,male,45\nb,back,male,50\n",
        "image,site,sex,age\na,head/neck,Male,45.0\nb,back,female,50\n",
    )
    table = read(paths, FILES, USUAL)
    assert table[["site", "sex", "age"]].to_numpy()[0].tolist() == ["scalp", "male", "45"]
    sex, site = told(paths)
    assert site == (
        "site: differs between tables or rows, the first is used: benign/a.jpg is "
        "'scalp' (info0.csv, line 2, column 'site') and "
        "'head/neck' (info1.csv, line 2, column 'site')"
    )
    assert sex.startswith("sex: differs")


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_each_of_several_tables_is_compared_with_the_others_and_with_the_folders(
    tables: Write, wrong: int
) -> None:
    right = "image,label\na,benign\nb,benign\nc,malignant\n"
    texts = [right.replace("a,benign", "a,malignant") if i == wrong else right for i in range(3)]
    with pytest.raises(BadInput, match=r"say different things of the same image, [12] times"):
        patients(tables(*texts))
    with pytest.raises(BadInput, match="say different things of the same image"):
        labels(tables(*texts), KEYS, USUAL)
    others = "image,label\nb,benign\nc,malignant\n"
    texts = [right.replace("a,benign", "a,malignant") if i == wrong else others for i in range(3)]
    with pytest.raises(
        BadInput, match=f"benign/a.jpg is in benign/, but the table says .*info{wrong}.csv"
    ):
        patients(tables(*texts))


def test_two_columns_that_say_the_opposite_are_asked_about(tables: Write) -> None:
    text = "image,benign_malignant,target\na,benign,0\nb,benign,1\nc,malignant,1\nd,malignant,0\n"
    with pytest.raises(BadInput, match="'benign_malignant' and 'target' say the opposite of 2"):
        labels(tables(text), KEYS, USUAL)
    named = labels(tables(text), KEYS, Labelling({"label": ("target",)}))
    assert named == ["benign", "malignant", "malignant", "benign"]
    unset = text.replace(",1\n", ",0\n")  # zeros in every row contradict nothing
    assert labels(tables(unset), KEYS, USUAL) == ["benign"] * 2 + ["malignant"] * 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_image_of_which_one_table_is_not_sure_is_left_out(
    tables: Write, order: tuple[int, ...]
) -> None:
    texts = [
        "image,label\na,benign\nb,benign\nc,malignant\nd,malignant\n",
        "isic_id,benign_malignant\na,indeterminate\nb,benign\nc,malignant\n",
    ]
    paths = tables(*(texts[i] for i in order))
    assert labels(paths, KEYS, USUAL) == ["", "benign", "malignant", "malignant"]
    assert [item.key for item in known(paths, FILES, USUAL).images.files] == KEYS[1:]


# --- the mapping in the settings -----------------------------------------------------------------


def test_a_mapping_names_the_columns(tables: Write) -> None:
    text = "Bild,Person,image,dx\na,P1,q,nv\nb,P2,q,nv\nc,P3,q,mel\nd,P4,q,mel\n"
    labelling = Labelling.of(
        Settings(
            columns="image_id=Bild, patient_id=Person, label=dx",
            malignant_values="MEL, bcc",
            benign_values="nv",
        )
    )
    assert patients(tables(text), labelling) == IN_ORDER
    assert labels(tables(text), KEYS, labelling) == ["benign"] * 2 + ["malignant"] * 2


def test_an_empty_mapping_says_that_no_column_holds_it(tables: Write) -> None:
    labelling = Labelling.of(Settings(columns="label=, patient_id="))
    text = GOOD.replace("c,P3,malignant", "c,P3,benign")
    assert patients(tables(text), labelling) == [""] * 4


def test_a_mapped_column_that_is_not_there_is_told_with_those_that_are(tables: Write) -> None:
    with pytest.raises(
        BadInput,
        match=r"patient_id=Person: no table has such a column. .*'image_name', 'patient_id'",
    ):
        patients(tables(GOOD), Labelling({"patient_id": ("Person",)}))


def test_a_mapped_label_with_unknown_values_is_told_with_their_counts(tables: Write) -> None:
    text = "image,dx\na,nv\nb,nv\nc,mel\nd,melanoma\n"
    with pytest.raises(BadInput, match=r"class is not known: 'nv' \(2\); 'mel' \(1\)"):
        labels(tables(text), KEYS, Labelling({"label": ("dx",)}))


# --- labels from tables --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "image,target\na,0\nb,0\nc,1\nd,1\n",
        "image,diagnosis,malignant\na,nevus,no\nb,wart,no\nc,melanoma,yes\nd,melanoma,yes\n",
    ],
)
def test_labels_are_taken_from_a_column_whose_values_are_all_known(
    tables: Write, text: str
) -> None:
    assert labels(tables(text), KEYS, Labelling()) == ["benign"] * 2 + ["malignant"] * 2


def test_images_without_a_row_have_no_label(tables: Write) -> None:
    text = "image,target\na,0\nc,1\nd,\n"
    assert labels(tables(text), KEYS, Labelling()) == ["benign", "", "malignant", ""]


def test_no_column_with_labels_is_told_with_the_columns(tables: Write) -> None:
    with pytest.raises(BadInput, match=r"no column is known to have the label.*'image', 'sex'"):
        labels(tables("image,sex\na,m\nb,m\nc,f\nd,f\n"), KEYS, Labelling())


# --- whatever comes ------------------------------------------------------------------------------


def holds(path: Path) -> None:
    """A frame or BadInput, and never anything else."""
    with suppress(BadInput):
        assert len(read((path,), FILES, USUAL)) == len(FILES)
    with suppress(BadInput):
        assert set(labels((path,), KEYS, USUAL)) <= {"", "benign", "malignant"}


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes_are_no_problem(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fuzz.csv"
    path.write_bytes(data)
    holds(path)


@FUZZ
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(GOOD) - 1),
            st.sampled_from(['"', ",", "\n", "\r", "\0", ";", "\ufeff", "é", "", "a" * 200]),
        ),
        max_size=8,
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "latin-1", "cp1252"]),
)
def test_spoilt_tables_are_no_problem(
    tmp_path: Path, edits: list[tuple[int, str]], encoding: str
) -> None:
    text = GOOD
    for place, piece in edits:
        text = text[:place] + piece + text[place + 1 :]
    path = tmp_path / "fuzz.csv"
    path.write_bytes(text.encode(encoding, errors="replace"))
    holds(path)


# --- the example ---------------------------------------------------------------------------------


def test_the_example_at_the_top_of_the_module_runs(tmp_path: Path) -> None:
    for key in KEYS:
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).touch()
    (tmp_path / "patients.csv").write_text(GOOD)
    lines = (reader.__doc__ or "").splitlines()
    example = "\n".join(line.strip() for line in lines if line.startswith("    "))
    names: dict[str, Any] = {"settings": Settings(), "folder": tmp_path, "find": find}
    names |= {"Labelling": Labelling, "Reader": Reader}
    exec(example, names)
    assert list(names["known"].table["patient_id"]) == IN_ORDER
