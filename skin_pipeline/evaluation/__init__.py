"""From trained runs to a verdict: figures on the test set, the gate, the report and the model card.

Takes in the split, the runs and the images, and scores of other models and sets. Gives an
`Evaluation` with the saved model, `Scored` of a champion or of a set of another origin, and a
`Verdict` with its report and card. It knows no registry: `release` decides who is the champion. The
door (`steps`) calls `tasks`; `release` calls `scoring` for the champion, `rejudging` before a model
is released, `gate` for the tolerance of a saved model, `familiarity` for the images that get no
decision, and `threshold` and `metrics` for profiles of sites; `monitoring` compares images in
`space`; `operations` compares versions with `comparison` and `metrics`; the page "Models" draws
with `plots`, and says with `wording` how long something took.
The modules in reading order:

    tasks        the work of the steps `evaluate`, `external` and `gate`
    logits       the work of the step `logits`: what runs say of images, some shards at a time
    scoring      probabilities of judged models, on another test set or a set of another origin
    ensemble     the runs as one model: temperature, threshold, and figures of all
    threshold    the decision threshold, on validation images
    metrics      figures with intervals, from probabilities and labels
    slices       figures by kind of image, and where a shortcut cannot help
    origins      how well each source is told by what was learned from the others
    space        directions of the trunk's features, in which images are compared
    familiarity  how usual an image is to a model, and when the model abstains
    answering    sensitivity and specificity against the share of images that get a decision
    saliency     the most confident mistakes, and which parts of the image led to them
    comparison   challenger against champion on the same images
    gate         from figures and bounds to the checks of a verdict
    rejudging    the same again before a release, from the predictions in the store
    costs        what each step took
    card         the model card, as JSON and Markdown
    report       the report, one HTML file
    wording      the names of figures, and how they are written
    plots        drawings for the report and for the page "Models"

Importing the room imports none of them, and no module imports TensorFlow before it is used.
"""

# ruff: file-ignore[undefined-export] (they are modules, imported when they are used)
__all__ = [
    "answering",
    "comparison",
    "familiarity",
    "gate",
    "logits",
    "metrics",
    "plots",
    "rejudging",
    "scoring",
    "slices",
    "space",
    "tasks",
    "threshold",
    "wording",
]
