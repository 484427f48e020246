"""Lists what is expected of the images."""

# ruff: file-ignore[banned-module-level-imports] it is imported only where there is work for it
from __future__ import annotations

from typing import Any

import great_expectations.expectations as gxe
from great_expectations.expectations.row_conditions import Column

from skin_pipeline.contracts import LABELS
from skin_pipeline.data.metadata import METADATA
from skin_pipeline.data.validation import expectations as own
from skin_pipeline.data.validation.wording import READABLE, UNITS, about, percent

# Columns that every later step reads.
COLUMNS = (
    "image_id",
    "key",
    "label",
    "sha256",
    "pixels_sha256",
    "format",
    "width",
    "height",
    "bytes",
    "readable",
    "problem",
    "converted",
    "brightness",
    "contrast",
    "sharpness",
    "shard",
    "row",
    *METADATA,
    "duplicates",
    "external",
    "group",
    "anchor",
)

SMALLEST_SIDE, LARGEST_SIDE = 64, 20_000  # pixels
# What dermoscopic images look like: 1144 of SIIM-ISIC 2020 and 717 of ISIC 2017 have a brightness
# of 38 to 240, a contrast of 6 to 92 and a sharpness of 2.9 to 51. After a Gaussian blur of 3 % of
# the width, nine in ten have a sharpness below 2.1.
LOOKS = (
    ("brightness", 40, 240, "mean luminance, 0 to 255", "Black, blank or badly exposed images"),
    ("contrast", 5, 100, "standard deviation of the luminance", "Blank images"),
    ("sharpness", 2.5, 60, "mean Laplacian of a thumbnail", "Blurred images, or noise"),
)
MOST_LOOKS = 0.98  # share of the images that must look so
ASPECTS = (0.4, 2.5)
LARGEST_CLASS = 0.9  # share of the images
MOST_CONVERTED = 0.1  # share of the images
SEXES = r"(?i)^\s*(?:f|female|woman|m|male|man|other)\s*$"
AGES = r"^\s*(?:\d{1,2}|10\d|110)(?:\.\d+)?\s*$"
SITES = (  # of SIIM-ISIC 2020, the ISIC archive and HAM10000; part of the name is enough
    "torso|trunk|chest|back|abdomen|extremity|arm|leg|hand|foot|feet|palm|sole|acral|head|neck|"
    "face|scalp|ear|nose|lip|oral|genital|buttock|thigh|forearm|shoulder|nail"
)


def suite(min_per_class: int, max_unreadable: float, max_group_share: float) -> list[Any]:
    """Returns what is expected of the images; the columns come first."""
    return [
        *_table(min_per_class, max_unreadable),
        *_groups(max_group_share),
        *_pixels(),
        *_copies(),
        *_metadata(),
    ]


def _table(min_per_class: int, max_unreadable: float) -> list[Any]:
    """Returns the expectations that there is something to train on."""
    return [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=list(COLUMNS),
            exact_match=False,
            **about(
                "columns of the manifest",
                f"has the {len(COLUMNS)} agreed columns",
                "Every later step reads this table.",
            ),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="label",
            value_set=list(LABELS),
            **about("labels", "one of " + ", ".join(LABELS), "The model knows two classes."),
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="readable",
            min_value=1 - max_unreadable,
            **about(
                "share of images that can be decoded",
                f"at least {1 - max_unreadable:g}",
                "Many broken files mean a broken download. Quarantined images are listed with "
                "the reason.",
            ),
        ),
        *(_enough(label, min_per_class) for label in LABELS),
        gxe.ExpectColumnMeanToBeBetween(
            column="malignant",
            min_value=1 - LARGEST_CLASS,
            max_value=LARGEST_CLASS,
            row_condition=READABLE,
            severity="warning",
            **about(
                "share of malignant images",
                f"{1 - LARGEST_CLASS:.2g} to {LARGEST_CLASS:g}",
                "Beyond it, choose how training is balanced (`balance`) with care.",
            ),
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="key",
            # The name of a check is in stored results and alerts, so it stays.
            **about("each file stands once", "all", "A key names one file."),
        ),
    ]


def _enough(label: str, count: int) -> Any:
    """Returns the expectation of enough readable images of a class."""
    return gxe.ExpectTableRowCountToBeBetween(
        min_value=count,
        row_condition=(Column("label") == label) & READABLE,
        **about(
            f"readable {label} images",
            f"at least {count}",
            "Fewer cannot be learned from, nor judged on.",
        ),
    )


def _groups(max_group_share: float) -> list[Any]:
    """Returns the expectations that images which belong together are in one group."""
    why = "Images of one {} are alike: on two sides of a split they leak the answer."
    return (
        [
            gxe.ExpectColumnValueLengthsToBeBetween(
                column=column,
                min_value=1,
                **about(f"each image has {article}", "all", "The split goes by it."),
            )
            for column, article in (("group", "a group"), ("anchor", "an anchor"))
        ]
        + [
            own.ExpectOneValueEach(
                key=key,
                columns=["group"],
                **about(f"each {what} is in one group", "one group", why.format(what)),
            )
            for key, what in UNITS.items()
            if key != "group"
        ]
        + [
            own.ExpectNoGiantGroup(
                share=max_group_share,
                row_condition=READABLE,
                **about(
                    "no group holds a large share of the images",
                    f"at most {percent(max_group_share)} of them (max_group_share)",
                    "A group is never parted, and one side of the split would be this group. "
                    "Mostly it is a word for nobody, such as `unknown`, taken for a patient.",
                ),
            )
        ]
    )


def _pixels() -> list[Any]:
    """Returns the expectations that the images look like dermoscopic images."""
    return [
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=side,
                min_value=SMALLEST_SIDE,
                max_value=LARGEST_SIDE,
                row_condition=READABLE,
                **about(
                    f"{side} of readable images in pixels",
                    f"{SMALLEST_SIDE} to {LARGEST_SIDE}",
                    "Icons and whole-slide scans are no dermoscopic images.",
                ),
            )
            for side in ("width", "height")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="aspect",
            min_value=ASPECTS[0],
            max_value=ASPECTS[1],
            mostly=0.99,
            row_condition=READABLE,
            severity="warning",
            **about(
                "width divided by height",
                f"{ASPECTS[0]} to {ASPECTS[1]} for 99 %",
                "Strips and panoramas lose most of their area when the centre is cut out.",
            ),
        ),
        *(_look(*look) for look in LOOKS),
        gxe.ExpectColumnValuesToBeInSet(
            column="converted",
            value_set=[""],
            mostly=1 - MOST_CONVERTED,
            row_condition=READABLE,
            severity="warning",
            **about(
                "images used as they are",
                f"at least {percent(1 - MOST_CONVERTED)}",
                "The others were converted (turned upright, CMYK to RGB, …) to be used.",
            ),
        ),
    ]


def _look(column: str, low: float, high: float, unit: str, otherwise: str) -> Any:
    """Returns the expectation that nearly all images have a figure in its usual range."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column,
        min_value=low,
        max_value=high,
        mostly=MOST_LOOKS,
        row_condition=READABLE,
        severity="warning",
        **about(
            f"{column} ({unit})",
            f"{low:g} to {high:g} for {percent(MOST_LOOKS)}",
            f"{otherwise} have other values than dermoscopic images.",
        ),
    )


def _copies() -> list[Any]:
    """Returns the expectations that no picture counts twice, and none has two labels."""
    return [
        *_counted_once(),
        *_one_label(),
        gxe.ExpectColumnValuesToBeInSet(
            column="external",
            value_set=[""],
            severity="warning",
            **about(
                "no image is shared with an external set",
                "none",
                "A model knows what it was trained on: the external score would be too good.",
            ),
        ),
    ]


def _counted_once() -> list[Any]:
    return [
        own.ExpectNoneTwice(
            column="picture",
            row_condition=READABLE,
            severity="warning",
            **about(
                "no two images have the same pixels",
                "none",
                "They count twice. They are kept in one group, so that none leaks.",
            ),
        ),
        own.ExpectNoneTwice(
            column="duplicates",
            differing="picture",
            severity="warning",
            **about(
                "no two images are nearly the same",
                "none",
                "Resized, re-encoded, turned or cropped copies count twice as well.",
            ),
        ),
    ]


def _one_label() -> list[Any]:
    # Only duplicates must agree: they are one photograph. A lesion may change between two.
    return [
        own.ExpectOneValueEach(
            key="duplicates",
            columns=["label"],
            **about(
                "duplicates have one label",
                "none contradict",
                "One of the labels is wrong. Remove the image or correct its label.",
            ),
        ),
        own.ExpectOneValueEach(
            key="lesion_id",
            columns=["label"],
            severity="warning",
            **about(
                "images of a lesion have one label",
                "none contradict",
                "A lesion is benign or malignant, unless it has changed between two images.",
            ),
        ),
    ]


def _metadata() -> list[Any]:
    """Returns the expectations that what is known of the patients makes sense."""
    domains = (
        ("age", AGES, 0.99, "0 to 110 years"),
        ("sex", SEXES, 0.99, "male, female or other"),
        ("site", rf"(?i)\b(?:{SITES})", 0.95, "a known part of the body"),
    )
    return [
        gxe.ExpectColumnValuesToMatchRegex(
            column=column,
            regex=regex,
            mostly=mostly,
            row_condition=Column(column) != "",
            severity="warning",
            **about(
                f"{column}, where given",
                f"{bound} for {percent(mostly)}",
                "Figures by age, sex and site, and the audit for shortcuts, read it.",
            ),
        )
        for column, regex, mostly, bound in domains
    ]
