"""The base of all documents: how one is addressed, written and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line, masked, shown
from skin_pipeline.storage import Store, update

RESULT = "result.json"  # the document of a step's result, below the result's key
COST = "cost.json"  # what it took, beside it
LABELS = ("benign", "malignant")  # in the order of the network's output: 0 and 1
C = TypeVar("C", bound="Contract")

# Text that contains words of others, and an address that others gave: made safe when a document is
# made, so that no page, log or alert that shows it has to think of it.
SafeText = Annotated[str, AfterValidator(line)]
Address = Annotated[str, AfterValidator(masked)]


class Contract(BaseModel):
    """Base of the documents. A reader refuses a schema that it does not know.

    Unknown fields are refused, too: a document that a later version wrote is not read in part.
    """

    # A figure that is not defined stays NaN in JSON, where pydantic would write null.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
    schema_version: Literal[1] = 1


class Cost(Contract):
    """What a result took, in `cost.json` beside it: the try that made it, and what that try did.

    - `seconds` is wall time, `cores` the number that the try was allowed to use, and `core_seconds`
      the CPU time that its process and the processes below that really used.
    - `bytes_read` and `bytes_written` are those of the store.
    - `peak_mib` is the most memory that the process, or one below it, had held until then.
    - `found` and `computed` are activations: those that were in the feature cache, and the others.
    - `work` names the kind of work, and `units` says how much of it was done: images, times passes
      over them. See `timing`.
    - `run` is the workflow run that made the result.

    Documents from earlier versions have the first three fields only; `core_seconds` is then None.
    """

    seconds: float
    cores: int
    finished_at: str
    core_seconds: float | None = None
    bytes_read: int = 0
    bytes_written: int = 0
    peak_mib: float = 0
    found: int = 0
    computed: int = 0
    work: str = ""
    units: int = 0
    run: str = ""


class Proof(Contract):
    """What a result was made from, and what it consists of; it is signed, under `proofs/`.

    - `key` is the result's, and `inputs` is what that key is made from: None where a person vouches
      for a result from before there were proofs.
    - `result` is the SHA-256 of the result's document, and `files` that of each file that the step
      wrote, by key.
    - `made_from` is the SHA-256 of the proof of each result that the step read, by key. It is empty
      for a result without a proof.
    """

    key: str
    inputs: dict[str, Any] | None
    result: str
    files: dict[str, str]
    made_from: dict[str, str]


class Interval(Contract):
    """A figure and the ends of its 95 % interval. NaN where a figure is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Returns it for people: `0.812 [0.757, 0.857]`."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def described(name: str, observed: str, bound: str) -> str:
    """Returns the one wording of a check, for reports, alerts and logs alike."""
    return f"{name}: {observed}, required {bound}"


def address(inputs: dict[str, Any]) -> str:
    """Returns a short digest of JSON-serialisable inputs: the same for the same inputs."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def load(store: Store, key: str, kind: type[C]) -> C:
    """Returns the document of a step's result.

    Raises:
        BadInput: there is no such result, or it was written by a version that this one cannot
            read.
    """
    return parse(store.read(f"{key}/{RESULT}"), kind, key)


def parse(data: bytes, kind: type[C], where: str) -> C:
    """Returns the document that a JSON text is; `where` names it in the error.

    Raises:
        BadInput: the document is damaged or of a schema that this version cannot read.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            f"{where} is not a {kind.__name__} document that this version reads: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Received: {shown(first['input'])}"
        ) from None


def dump(contract: Contract) -> bytes:
    """Returns the JSON of a document, ending with a line feed."""
    return (contract.model_dump_json(indent=2) + "\n").encode()


def revise(
    store: Store, key: str, kind: type[C], change: Callable[[C | None], C | None]
) -> C | None:
    """Replaces a document that changes by what `change` makes of it; see `storage.update`.

    Args:
        store: The store.
        key: The key of the document itself.
        kind: Its kind.
        change: Is given the document, or None if there is none, and returns the new one; None to
            leave it as it is.

    Returns:
        The new document; None if it was left as it is.

    Raises:
        BadInput: The document that is there is damaged.
    """
    made: C | None = None

    def changed(data: bytes | None) -> bytes | None:
        nonlocal made
        made = change(None if data is None else parse(data, kind, key))
        return None if made is None else dump(made)

    update(store, key, changed)
    return made


def stamp(moment: str) -> str:
    """Returns a time, ISO 8601 in UTC, to the second, as the part of a key that sorts by it."""
    return moment[:19].replace(":", "").replace("-", "")
