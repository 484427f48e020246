"""Things done in processes of their own, which may lose their rights or see other mounts."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

import pytest

Child = tuple[int, int]  # its number, and the end of a pipe that says what failed


def in_child(body: Callable[[], object]) -> None:
    """Do something in another process; what fails there fails here."""
    in_children([body])


def in_children(bodies: list[Callable[[], object]]) -> None:
    """Do several things at once, each in a process of its own."""
    children = [_start(body) for body in bodies]
    problems = [problem for child in children if (problem := _end(child))]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def _start(body: Callable[[], object]) -> Child:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            body()
        except BaseException:
            with os.fdopen(writer, "w") as telling:
                telling.write(traceback.format_exc())
        finally:  # never back into the tests
            os._exit(0)
    os.close(writer)
    return child, reader


def _end(child: Child) -> str:
    """Wait for a child; what failed in it."""
    number, reader = child
    with os.fdopen(reader) as told:
        problem = told.read()
    status = os.waitpid(number, 0)[1]
    return problem or ("" if status == 0 else f"a child ended with status {status}")
