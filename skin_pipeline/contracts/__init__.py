"""What passes between steps: small, frozen, versioned JSON documents in the store.

A step returns the key of its result (`split/4f1a…`), never the data. The document is at
`<key>/result.json`, and is written after the files that it names: if it exists, the result is
whole. This room takes in documents as bytes, and gives them as typed values, or refuses them. It
contains no code of any step; every room may call it.

    validation = load(store, "validate/4f1a…", Validation)   # BadInput if it is not one
    store.put(f"{key}/{RESULT}", dump(validation))

In reading order:

- `document`: the base of all documents, and how one is addressed, written and read
- `data`: the results of the steps from `listing` to `split`
- `training`: the results of `features` and `train`
- `evaluation`: the results of `evaluate`, `champion`, `external` and `gate`
- `release`: the manifest of a version, what an alias names, a model's history, profiles of sites
- `operations`: actions of people, approvals, incidents, and batches of scoring
- `returned`: labels that came back for scored images
- `scoring`: what passes between the steps of batch scoring
- `monitoring`: what monitoring found out about a model's images and scores
"""

from skin_pipeline.contracts.data import (
    Changes,
    Check,
    DataPointer,
    Dataset,
    DecodedRange,
    ImageBuckets,
    NearDuplicates,
    Notice,
    Shortcut,
    SourceListing,
    Split,
    Validation,
    stopping,
)
from skin_pipeline.contracts.document import (
    COST,
    LABELS,
    RESULT,
    Contract,
    Cost,
    Interval,
    Proof,
    address,
    dump,
    load,
    parse,
    revise,
    stamp,
)
from skin_pipeline.contracts.evaluation import (
    Abstention,
    Answered,
    Bin,
    Calibration,
    Comparison,
    Evaluation,
    Figures,
    GateCheck,
    LeftOut,
    Mistake,
    Predictive,
    Scored,
    Slice,
    StepCost,
    Verdict,
    Within,
)
from skin_pipeline.contracts.monitoring import (
    Band,
    DriftReport,
    Moved,
    RetrainingAsked,
    WatchedDay,
    stream_of,
)
from skin_pipeline.contracts.operations import (
    Action,
    ActionKind,
    Approval,
    Batch,
    EventKind,
    Incident,
    Observations,
    Outcome,
)
from skin_pipeline.contracts.release import (
    CHAMPION,
    SITE_PATTERN,
    Judgement,
    Pointer,
    Release,
    SiteFigures,
    SiteProfile,
    SiteScores,
)
from skin_pipeline.contracts.returned import RefusedLabel, ReturnedLabel, ReturnedLabels
from skin_pipeline.contracts.scoring import Ledger, ScoredChunk, ScoringChunk, ScoringPlan
from skin_pipeline.contracts.training import (
    EngineProbe,
    Epoch,
    FeatureIndex,
    Features,
    Graph,
    Logits,
    TrainedRun,
    Trunk,
    Views,
    features_of,
)

__all__ = [
    "CHAMPION",
    "COST",
    "LABELS",
    "RESULT",
    "SITE_PATTERN",
    "Abstention",
    "Action",
    "ActionKind",
    "Answered",
    "Approval",
    "Band",
    "Batch",
    "Bin",
    "Calibration",
    "Changes",
    "Check",
    "Comparison",
    "Contract",
    "Cost",
    "DataPointer",
    "Dataset",
    "DecodedRange",
    "DriftReport",
    "EngineProbe",
    "Epoch",
    "Evaluation",
    "EventKind",
    "FeatureIndex",
    "Features",
    "Figures",
    "GateCheck",
    "Graph",
    "ImageBuckets",
    "Incident",
    "Interval",
    "Judgement",
    "Ledger",
    "LeftOut",
    "Logits",
    "Mistake",
    "Moved",
    "NearDuplicates",
    "Notice",
    "Observations",
    "Outcome",
    "Pointer",
    "Predictive",
    "Proof",
    "RefusedLabel",
    "Release",
    "RetrainingAsked",
    "ReturnedLabel",
    "ReturnedLabels",
    "Scored",
    "ScoredChunk",
    "ScoringChunk",
    "ScoringPlan",
    "Shortcut",
    "SiteFigures",
    "SiteProfile",
    "SiteScores",
    "Slice",
    "SourceListing",
    "Split",
    "StepCost",
    "TrainedRun",
    "Trunk",
    "Validation",
    "Verdict",
    "Views",
    "WatchedDay",
    "Within",
    "address",
    "dump",
    "features_of",
    "load",
    "parse",
    "revise",
    "stamp",
    "stopping",
    "stream_of",
]
