"""What the answer of a worker process may name."""

from __future__ import annotations

import os
import pickle
import subprocess
from concurrent.futures.process import BrokenProcessPool
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import UnidentifiedImageError

from skin_pipeline.data.images import Inspected
from skin_pipeline.data.workers import answers
from skin_pipeline.errors import BadInput


def read(pickled: Any) -> Any:
    return answers._Unpickler(BytesIO(pickled)).load()


ANSWERS = [
    None,
    [1, 2.5, "text", b"bytes", (True, {"a": {1, 2}})],
    Inspected("sha", 3, "a problem"),
    np.float32(0.5),
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_what_workers_answer_is_read(answer: Any, protocol: int) -> None:
    assert repr(read(pickle.dumps(answer, protocol))) == repr(answer)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16", "bool"])
def test_arrays_are_read(dtype: str) -> None:
    pixels = np.arange(60).reshape(4, 5, 3).astype(dtype)
    found = read(pickle.dumps([pixels, pixels.T, pixels[:0]]))
    assert all(map(np.array_equal, found, [pixels, pixels.T, pixels[:0]]))


@pytest.mark.parametrize("error", [ValueError("x"), OSError(5, "x"), UnidentifiedImageError("x")])
def test_errors_are_read(error: Any) -> None:
    assert repr(read(pickle.dumps(error))) == repr(error)


class Calling:
    """A pickle that has its reader call something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CALLS = {
    "a program": Calling(os.system, "true"),
    "a process": Calling(subprocess.Popen, ["true"]),
    "evaluation": Calling(eval, "1"),
    "import": Calling(__import__, "os"),
    "an attribute": Calling(getattr, "", "join"),
    "a file": Calling(open, os.devnull),
    "an exit": Calling(SystemExit, 0),
    "an array from a file": Calling(np.load, "x"),
    "a function of ours": Calling(answers._is_ours, "", ""),
    "an error of another room": Calling(BrokenProcessPool.__init__, None),
}


@pytest.mark.parametrize("answer", CALLS.values(), ids=CALLS)
def test_an_answer_that_would_call_something_is_not_read(answer: Calling) -> None:
    with pytest.raises(pickle.UnpicklingError, match="a worker process answered with"):
        read(pickle.dumps(answer))


@pytest.mark.parametrize(
    "named",
    [
        ("skin_pipeline.data.workers.pool", "os.system"),
        ("skin_pipeline.data.images.inspecting", "Path"),
        ("skin_pipeline.data.workers", "spread"),
        ("skin_pipeline.storage", "FolderStore"),
        ("skin_pipeline.data", "images.inspect"),
        ("numpy", "ndarray.tofile"),
        ("builtins", "Exception.__init__"),
        ("concurrent.futures.process", "ProcessPoolExecutor"),
        ("a.module.that.is.not.there", "X"),
    ],
)
def test_a_name_that_leads_elsewhere_is_not_followed(named: Any) -> None:
    pickled = (
        b"\x80\x04" + b"".join(b"\x8c" + bytes([len(n)]) + n.encode() for n in named) + b"\x93."
    )
    with pytest.raises(pickle.UnpicklingError, match="a worker process answered with"):
        read(pickled)


def test_errors_of_ours_are_read() -> None:
    assert str(read(pickle.dumps(BadInput("why")))) == "why"
