"""Where Airflow and the steps meet: a `Job` from a task's context, and errors as Airflow's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from airflow.sdk import Param, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from skin_pipeline.config import deployment, form_schema, settings_from
from skin_pipeline.errors import BadInput, Rejected, Unavailable
from skin_pipeline.job import Job
from skin_pipeline.storage import Store


@contextmanager
def airflow_errors() -> Generator[None, None, None]:
    """Errors as Airflow's own: bad input fails a task at once, the rest may be tried again."""
    try:
        yield
    except BadInput as error:
        raise AirflowFailException(str(error)) from None
    except Rejected as error:
        raise AirflowSkipException(f"refused by the gate: {error}") from None
    except Unavailable as error:
        raise AirflowException(str(error)) from error


@contextmanager
def airflow_job(*, kaggle: bool = False) -> Generator[Job, None, None]:
    """The job of the running task, with errors as in `airflow_errors`.

    Args:
        kaggle: Whether the step may ask Kaggle. Only then is the connection looked up, which
            costs two requests to Airflow.
    """
    from skin_connections import (
        data_access,
        kaggle_credentials,
        kaggle_endpoint,
        open_configured_store,
    )

    context: Any = get_current_context()
    with airflow_errors():
        access: dict[str, Any] = {}
        if kaggle:
            access = {"kaggle": kaggle_credentials(), "kaggle_endpoint": kaggle_endpoint()}
        place = deployment()
        yield Job(
            settings=settings_from(dict(context["params"])),
            place=place.model_copy(update={"threads": place.threads or 1}),
            store=open_configured_store(),
            data_access=data_access,
            run_id=context["run_id"],
            # The same for every try and every clearing, unlike the time at which a task starts.
            started=context["dag_run"].run_after,
            **access,
        )


@contextmanager
def airflow_store() -> Generator[Store, None, None]:
    """The store alone, for tasks that are no step; with errors as in `airflow_errors`."""
    from skin_connections import open_configured_store

    with airflow_errors():
        yield open_configured_store()


def step(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Like `@task`, with the function's docstring as the text that Airflow shows of the task."""

    def decorate(function: Callable[..., Any]) -> Any:
        return task(doc_md=inspect.cleandoc(function.__doc__ or ""), **options)(function)

    return decorate


def form() -> dict[str, Param]:
    """The trigger form: a field for every knob of `skin_pipeline.config.Settings`."""
    fields = form_schema()
    for schema in fields.values():
        schema["description_md"] = schema.pop("description")  # as Markdown
    return {name: Param(**schema) for name, schema in fields.items()}


def push(**values: str | list[str]) -> None:
    """Hand further keys to later tasks, beside the list that a task returns to be mapped over."""
    context: Any = get_current_context()
    for name, value in values.items():
        context["ti"].xcom_push(name, value)
