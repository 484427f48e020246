"""Writes the model card: what a model is for, how good it is, and what was not measured.

After Mitchell et al. 2019, "Model Cards for Model Reporting". `data` gathers it from the documents
of a judged run, `markdown` writes it for people:

content = data(store, verdict, evaluation)   # JSON, for other programs
text = markdown(content)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from skin_pipeline import journal, tables
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Interval,
    Scored,
    Shortcut,
    Verdict,
    load,
)
from skin_pipeline.data import metadata
from skin_pipeline.evaluation import wording
from skin_pipeline.foreign import on_page
from skin_pipeline.storage import Store

TEMPLATES = Path(__file__).parent / "templates"
INTENDED_USE = (
    "Research on how well dermoscopic images of skin lesions can be screened for malignancy.",
    "Running and comparing models, data and settings in this workflow.",
)
NOT_FOR = (
    "Diagnosis: whether a lesion is malignant is for a doctor to decide.",
    "Patient care: no study has shown a benefit to patients, and no authority has approved it.",
    "Images that are not dermoscopic, such as photographs taken with a phone, and images that do "
    "not show exactly one lesion: the model returns a probability for any image.",
)
UNMEASURED = (
    "Not measured: whether patients benefit from the model, and how doctors would use it.",
    "Not measured: how many of the labels are wrong. They were used as they were given.",
)
RETURNED = (
    "{} of the images were scored by an earlier model first, and got their label afterwards. "
    "Labels come back mostly for images that looked suspicious (verification bias): malignant and "
    "difficult images are more frequent among them than among all patients, and figures on test "
    "images among them differ from those in use."
)
# Words in the name of a metadata column that has skin tones.
SKIN_TONE = ("skin", "fitzpatrick", "tone")
# Text from the data that Markdown would take for markup: anywhere, at an end of a word, at the
# start of a line, and in what becomes a link without any brackets.
MARKDOWN = re.compile(
    r"[\\`*<\[|&~$]|(?<!\w)_|_(?!\w)|\A[#>+=-]|(?<=\A\d)[.)](?=\s)"
    r"|(?<=http):(?=//)|(?<=https):(?=//)|(?<=ftp):(?=//)|(?<=www)\.|(?<!\S)@",
    re.IGNORECASE,
)


def data(store: Store, verdict: Verdict, evaluation: Evaluation) -> dict[str, Any]:
    """Returns the content of the card as plain values for JSON; NaN as None.

    Raises:
        BadInput, Unavailable: As the store raises them.
    """
    found = journal.data_of(store, verdict.validation, evaluation.split)
    external = [load(store, key, Scored) for key in verdict.external]
    shortcuts = [item for item in found.validation.shortcuts if not item.passed]
    images = _images(store, found.dataset, evaluation)
    content = {
        "name": verdict.released_as,
        "warning": wording.NOT_A_DEVICE,
        "synthetic": evaluation.synthetic,
        "approved": verdict.approved,
        "judged_at": verdict.judged_at,
        "reasons": verdict.reasons,
        "checks": verdict.checks,
        "intended_use": INTENDED_USE,
        "not_for": NOT_FOR,
        "images": images,
        "training": _training(evaluation),
        "threshold": _threshold(verdict, evaluation),
        "abstention": _abstention(evaluation),
        "figures": evaluation.ensemble,
        "calibration": evaluation.calibration,
        "champion": verdict.comparison,
        "external": [_external(store, item) for item in external],
        "left_out": evaluation.left_out,
        "slices": evaluation.slices,
        "shortcuts": shortcuts,
        "within": evaluation.within,
        "limits": [
            *_limits(evaluation, external, shortcuts, images),
            *([RETURNED.format(found.dataset.returned)] if found.dataset.returned else []),
            *UNMEASURED,
        ],
        "identity": _identity(verdict, evaluation, found.dataset),
        "versions": verdict.versions,
        "settings": verdict.settings,
        "seconds": verdict.seconds,
    }
    return {name: _plain(value) for name, value in content.items()}


def markdown(card: dict[str, Any]) -> str:
    """Returns the card as Markdown, from the result of `data`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = _with_interval
    return environment.get_template("card.md").render(card, words=wording.FIGURES)


def _images(store: Store, dataset: Dataset, evaluation: Evaluation) -> dict[str, Any]:
    table = tables.read_scores(store, evaluation.predictions)
    return {
        "source": dataset.source,
        "classes": dataset.classes,
        "unreadable": dataset.unreadable,
        "groups": table["group"].nunique(),
        "patients_known": bool(table["group"].str.startswith("patient_id:").any()),
        "test_groups": table.loc[table["test"], "group"].nunique(),
        "size": dataset.image_size,
        "field_of_view": dataset.field_of_view,
        "regions": dataset.regions,
    }


def _training(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "backbone": evaluation.trunk.backbone,
        "weights": evaluation.trunk.source,
        "strategy": evaluation.strategy,
        "runs": len(evaluation.runs),
        "seeds": evaluation.seeds,
        "views": evaluation.views,
    }


def _threshold(verdict: Verdict, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "value": evaluation.threshold,
        "target_sensitivity": verdict.settings["target_sensitivity"],
        "by": verdict.settings.get("threshold_by", "point"),
    }


def _abstention(evaluation: Evaluation) -> dict[str, Any]:
    rule = evaluation.abstention
    return {
        **rule.model_dump(),
        "words": wording.abstaining(rule, evaluation.threshold),
        "answered": evaluation.answered,
    }


def _external(store: Store, scored: Scored) -> dict[str, Any]:
    source = load(store, scored.dataset, Dataset).source
    return {**scored.model_dump(exclude={"predictions"}), "source": source}


def _identity(verdict: Verdict, evaluation: Evaluation, dataset: Dataset) -> dict[str, str]:
    return {
        "images": dataset.content_digest,
        "pretrained weights": evaluation.trunk.digest,
        "split": evaluation.split,
        "evaluation": verdict.evaluation,
    }


def _limits(
    evaluation: Evaluation,
    external: Sequence[Scored],
    shortcuts: Sequence[Shortcut],
    images: dict[str, Any],
) -> Iterator[str]:
    """Yields a sentence for each limit of the figures, the gravest first."""
    if evaluation.synthetic:
        yield "The images were drawn by a program: the figures say nothing about skin."
    yield from (
        f"{item.name[:1].upper()}{item.name[1:]} alone predicts the label "
        f"(AUC {wording.shown(item.auc)}): the model may rely on it, and fail where it is absent."
        for item in shortcuts
    )
    yield _origin([item.name for item in external if item.figures])
    yield from _people(evaluation)
    if not images["patients_known"]:
        yield (
            "Patients are not known. Images of one patient may be in the training set and in the "
            "test set, which makes the figures look better than they are."
        )
    calls = evaluation.ensemble.confusion
    share = (calls["tp"] + calls["fn"]) / evaluation.ensemble.images
    yield (
        f"{100 * share:.0f} % of the test images are malignant. Where the share is lower, as in "
        "screening, far more of the alarms are false."
    )
    yield (
        "Every model is judged on the same test set. The more models have been judged on it, the "
        "more the best of them owes to chance."
    )


def _origin(names: list[str]) -> str:
    if not names:
        return (
            "No images of another origin were scored. How the model performs with other cameras, "
            "in other clinics and on other people was not measured; expect lower figures there."
        )
    return f"Images of another origin were scored from {' and '.join(names)} only."


def _people(evaluation: Evaluation) -> Iterator[str]:
    """Yields the limits that come from unknown or rare kinds of people."""
    features = {item.feature for item in evaluation.slices}
    if not any(word in feature for word in SKIN_TONE for feature in features):
        yield "Skin tones are not known: how the model performs on dark skin was not measured."
    unknown = [name for name in metadata.TRAITS if name not in features]
    if unknown:
        yield f"Not known for these images, so that there are no figures by: {', '.join(unknown)}."
    few = [f"{item.feature} {item.value}" for item in evaluation.slices if item.small]
    if few:
        yield f"Too few test images to judge: {', '.join(few)}."


def _plain(value: Any) -> Any:
    """Returns a value for JSON: documents as dicts, and None for NaN, which JSON does not have."""
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    if isinstance(value, dict):
        return {str(k): _plain(item) for k, item in value.items() if k != "schema_version"}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_interval(value: dict[str, float | None]) -> Markup:
    """Returns a figure of `data` with its interval. Its brackets are not escaped."""
    numbers = {name: math.nan if end is None else end for name, end in value.items()}
    return Markup(wording.shown(Interval(**numbers)))


def _escaped(value: Any) -> Any:
    """Returns text from the data so that Markdown shows it as it is: no tag, link, cell or line."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return MARKDOWN.sub(r"\\\g<0>", on_page(value))
