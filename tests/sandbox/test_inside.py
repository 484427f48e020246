"""What code gets that has taken over the process that tries a model: nothing.

The attacks are run through `trial.ask` itself, in place of loading a model, once as root, once as
root where nobody could run Python too, once as another user, and without a layer of the kernel.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import attacks
import children
import pytest
from surroundings import ROOT, SECRET, World, place
from takeover import PATIENCE, SUPPORT, ask, cell, taken_over

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.sandbox import run_confined

__all__ = ["place"]  # a fixture


NOBODY = 65534


NEW_MOUNTS, BIND = 0x0002_0000, 0x1000


linux = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root prepares it")


def attacked(place: Path, without: tuple[str, ...] = ()) -> tuple[dict[str, str], str]:
    """What the attacks got, and what the log says of the process that was attacked."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("skin_pipeline")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with ExitStack() as open_for:
            world = World(place, open_for)
            facts = {**world.facts(), "without": without}
            with taken_over(place, **facts), pytest.raises(BadInput) as said:
                ask(place)
            got, _ = json.JSONDecoder().raw_decode(str(said.value))
            return {**got, **world.harm()}, "\n".join(lines)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def with_open_python() -> None:
    """Lets any user run this Python and see this package, in this process' view of the disk."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    assert library.unshare(NEW_MOUNTS) == 0
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    needed = {Path(p).resolve() for p in (sys.base_prefix, sys.prefix, ROOT)}
    opened = {path: os.open(path, os.O_PATH) for path in needed}
    for path, file in opened.items():
        closed = [folder for folder in path.parents if not folder.stat().st_mode & 0o001]
        if closed:
            size = ["-t", "tmpfs", "-o", "mode=755", "tmpfs", str(closed[-1])]
            subprocess.run(["mount", *size], check=True)
        if not path.exists():
            path.mkdir(parents=True)
            source = f"/proc/self/fd/{file}".encode()  # which the command would resolve itself
            assert library.mount(source, str(path).encode(), None, BIND, None) == 0


def as_another_user() -> None:
    with_open_python()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.environ["HOME"] = "/nonexistent"
    tempfile.tempdir = "/tmp"


@linux
@as_root
def test_each_attack_gets_something_of_a_process_that_is_not_confined(place: Path) -> None:
    """Or it would show nothing below."""
    with ExitStack() as open_for:
        world = World(place, open_for)
        run = subprocess.run(
            [sys.executable, SUPPORT / "attacks.py", json.dumps(world.facts())],
            cwd=place,
            env={"SKIN_SIGNING_PASSWORD": SECRET},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            check=True,
        )
        assert set(attacks.ATTACKS) - set(json.loads(run.stdout)) == set()
        world.bystander.wait(PATIENCE)
        assert set(world.harm()) == {"signals", "daemon"}


@linux
def test_a_model_that_takes_its_process_over_gets_nothing(place: Path) -> None:
    got, log = attacked(place)
    assert (got, "confined_in_part" in log) == ({}, False)
    assert "network=none" in log


FILES = {
    "the_signing_key",
    "the_key_by_another_path",
    "files_of_the_user",
    "lists_of_folders",
    "files_of_the_system",
    "files_of_the_checkout",
    "a_file_outside",
    "other_things_outside",
    "what_is_there_changed",
    "a_program_of_python_changed",
    "who_else_is_there",
    "map_of_another",
    "folders_of_another",
    "environment_of_another",
    "files_of_another",
    "memory_of_another",
}


LAYERS = {
    # Docker's usual profile allows Landlock and filters, and no new namespaces.
    "in Docker": (("namespaces",), set(), []),
    "with rights of root": (("capabilities",), {"root_again"}, []),
    "on other processors": (
        ("filter",),
        {
            "a_process_by_another_way",
            "a_process_that_stays",
            "a_server",
            "a_signal_by_way_of_a_pipe",
            "a_socket_by_another_way",
            "a_socket_of_a_path",
            "daemon",
            "files_by_handle",
            "memory_shared_with_others",
            "memory_that_is_not_counted",
            "names_of_files_by_watching",
            "netlink_and_raw_sockets",
            "priority_of_another",
            "rights_of_a_namespace",
            "udp",
            "what_is_there_changed",
            "a_program_of_python_changed",
            "another_program_in_this_process",
            "limits_of_another",
        },
        ["it can start processes"],
    ),
    "before Linux 5.13": (
        ("landlock",),
        FILES,
        ["it can read the files that its user may read"],
    ),
}


@linux
@as_root
@pytest.mark.parametrize(("without", "possible", "told"), LAYERS.values(), ids=LAYERS)
def test_what_a_layer_of_the_kernel_alone_holds_back_is_told(
    without: tuple[str, ...], possible: set[str], told: list[str], place: Path
) -> None:
    got, log = attacked(place, without)
    assert set(got) <= possible
    assert bool(got) == bool(possible)
    assert bool(told) == ("confined_in_part" in log)
    assert all(gap in log for gap in told)


@linux
@as_root
def test_root_becomes_nobody_where_nobody_can_run_python(place: Path) -> None:
    def body() -> None:
        with_open_python()
        got, log = attacked(place)
        assert (got, "user=nobody" in log) == ({}, True), log

    children.in_child(body)


@linux
@as_root
def test_the_same_holds_for_another_user(place: Path) -> None:
    def body() -> None:
        as_another_user()
        got, log = attacked(place)
        assert (got, f"user={NOBODY}" in log) == ({}, True), log

    children.in_child(body)


def test_rights_are_given_up_before_any_code_of_the_work_is_imported(place: Path) -> None:
    """Whatever the module is: this one says at its import what it may do then."""
    hook = place / "early.py"
    hook.write_text("""
import sys
LOADED = sorted({"numpy", "keras", "tensorflow", "h5py", "zipfile"} & sys.modules.keys())
try:
    open("/etc/passwd").close()
    READ = "read"
except OSError as error:
    READ = type(error).__name__
def main(*arguments):
    return f"{LOADED} {READ} {arguments}"
""")
    ended = run_confined(
        cell(place, readable=(str(place),)), "early", ["x"], {"PYTHONPATH": str(place)}
    )
    assert ended.answer.decode() == "[] PermissionError ('x',)"


def test_a_process_with_a_second_thread_is_not_confined_and_not_used(place: Path) -> None:
    """That thread would keep its rights."""
    (place / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=[9], daemon=True).start()"
    )
    with pytest.raises(Unavailable, match=r"could not be started and confined.*several threads"):
        run_confined(cell(place), "json", [], {"PYTHONPATH": str(place)})
