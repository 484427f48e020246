"""What pages know of a request, although Airflow may have loaded a module twice."""

from __future__ import annotations

import importlib.util

import skin_request


def test_a_second_copy_of_the_module_has_the_same_variables() -> None:
    spec = importlib.util.spec_from_file_location("skin_request_again", skin_request.__file__)
    assert spec
    assert spec.loader
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    for name in ("HOME", "QUERY", "USER", "REQUEST"):
        assert getattr(again, name) is getattr(skin_request, name)
    assert skin_request.HOME.get() == "./"
