"""Puts a result of Great Expectations into words."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

from skin_pipeline.contracts import Check
from skin_pipeline.data.validation.docs import Finding

EXAMPLES = 20  # images that the Data Docs name for a check
SHOWN = 3  # of them in a log line


def finding(result: Any) -> Finding:
    """Returns what an expectation has found, for the log, the contract and the pages."""
    config = result.expectation_config
    examples = _examples(result.result)
    check = Check(
        name=config.description,
        severity="warning" if config.severity.value == "warning" else "critical",
        observed=_observed(result, examples),
        bound=config.meta["bound"],
        passed=bool(result.success),
    )
    return Finding(check, _sentence(config), config.notes or "", tuple(examples))


def _examples(seen: Mapping[str, Any]) -> list[str]:
    """Returns the images that failed a check, and what was seen in them."""
    # Expectations of our own give their faults in words, those of Great Expectations as rows.
    own = seen.get("details") or {}
    if "faults" in own:
        more = own["count"] - len(own["faults"])
        return [*own["faults"], *([f"and {more} more"] if more else [])]
    return [
        f"{row['key']}: {_short(value)}"
        for row in seen.get("partial_unexpected_index_list") or ()
        for name, value in row.items()
        if name != "key"
    ]


def _observed(result: Any, examples: list[str]) -> str:
    """Returns what was seen, in a few words, with examples where the check failed."""
    seen, raised = result.result, _raised(result.exception_info)
    if raised:
        return f"could not be checked: {raised}"
    value = seen.get("observed_value")
    if isinstance(value, list):
        missing = (seen.get("details") or {}).get("mismatched", {}).get("missing", [])
        return f"{len(value)} columns" + (f", without {', '.join(missing)}" if missing else "")
    if value is None and "unexpected_count" not in seen:
        return "nothing to look at"
    text = _short(value) if value is not None else _count(seen)
    if not examples or result.success:
        return text
    shown = [*examples[:SHOWN], *(["…"] if len(examples) > SHOWN else [])]
    return f"{text} ({'; '.join(shown)})"


def _count(seen: Mapping[str, Any]) -> str:
    return f"{seen['unexpected_count']} of {seen['element_count'] - seen['missing_count']} off"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value) or "empty"


def _raised(info: Mapping[str, Any]) -> str:
    """Returns the message of an error inside the check; "" if there was none.

    Great Expectations raises nothing. It keeps an error beside the result, in one of two forms.
    """
    parts = [info, *(part for part in info.values() if isinstance(part, dict))]
    return next((str(p["exception_message"]) for p in parts if p.get("raised_exception")), "")


def _sentence(config: Any) -> str:
    """Returns the expectation in words, as Great Expectations renders it."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    # Without the description, which would be rendered instead of the sentence.
    unnamed = ExpectationConfiguration(type=config.type, kwargs=config.kwargs)
    (content,) = InlineRenderer(unnamed).get_rendered_content()
    params = {name: _word(item["value"]) for name, item in (content.value.params or {}).items()}
    words = Template(content.value.template).safe_substitute(params).strip(" .").split()
    text = " ".join(words)
    return f"{text[:1].upper()}{text[1:]}."


def _word(value: Any) -> str:
    """Returns a value as part of a sentence; `""` stands for empty text, also behind a last `=`."""
    text = f"{value:g}" if isinstance(value, float) else str(value).strip()
    return f'{text} ""'.strip() if not text or text.endswith("=") else text
