"""The values for the official chart: keys that it has, rights of the containers, secrets by name.

The chart is not a package and is not copied here. `chart_keys.json` says which keys of its version
1.22.0 the files use and what they take, as its documentation does; any other key is refused. Helm
itself checks all values by the chart's own schema whenever it is given them.
"""

from __future__ import annotations

import copy
import json
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pods
import pytest
import yaml
from jsonschema import Draft7Validator

from skin_pipeline.config import Deployment, Settings, read_deployment
from skin_pipeline.config.pods import pods as read_resources

SCHEMA = json.loads(Path(__file__).with_name("chart_keys.json").read_text())
FILES = ("values.yaml", "values-celery.yaml")
VALUES = {name: yaml.safe_load((pods.FOLDER / name).read_text()) for name in FILES}


def merged(base: Any, over: Any) -> Any:
    """What Helm makes of a value in two files: maps are merged, all else is replaced."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    common = {key: merged(base[key], over[key]) for key in base.keys() & over.keys()}
    return {**base, **over, **common}


KUBERNETES = VALUES["values.yaml"]
CELERY = reduce(merged, VALUES.values())
BOTH = pytest.mark.parametrize("values", [KUBERNETES, CELERY], ids=["kubernetes", "celery"])


def problems(values: Any) -> list[str]:
    return [error.message for error in Draft7Validator(SCHEMA).iter_errors(values)]


@BOTH
def test_the_chart_has_every_key_and_takes_every_value(values: Any) -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert problems(values) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiServer.serviceAcount", {}),
        ("scheduler.logGroomerSidecar.enable", False),
        ("webserver", {}),
        ("executor", ["KubernetesExecutor"]),
        ("executor", "CeleryKubernetesExecutor"),
        ("uid", "50000"),
        ("securityContexts.container", {}),
        ("redis.securityContexts.containers", {}),
        ("extraEnvFrom", [{"configMapRef": {"name": "skin-settings"}}]),
        ("fernetKey", "Zm9vYmFy"),
    ],
)
def test_a_misspelt_key_and_a_value_of_another_kind_are_noticed(path: str, value: Any) -> None:
    wrong = copy.deepcopy(CELERY)
    *steps, last = path.split(".")
    reduce(lambda place, step: place[step], steps, wrong)[last] = value
    assert problems(wrong)


@BOTH
@pytest.mark.parametrize("part", ["scheduler", "apiServer", "dagProcessor", "triggerer", "redis"])
def test_a_container_of_the_chart_is_locked_like_that_of_a_task(values: Any, part: str) -> None:
    given = values[part]
    if not given.get("enabled", True):
        return
    of_all = values["securityContexts"]
    own = given.get("securityContexts", {"pod": of_all["pod"], "container": of_all["containers"]})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {
            "serviceAccountName": given["serviceAccount"]["name"],
            "securityContext": own["pod"],
            "containers": [
                {
                    "name": "x",
                    "image": "x",
                    "securityContext": own["container"],
                    "resources": given["resources"],
                    "env": given.get("env", []),
                    "volumeMounts": values["volumeMounts"],
                }
            ],
            "volumes": values["volumes"],
        },
    }
    pods.check(pod)
    # The token and the links of services are matters of the account and of the chart.
    assert set(pods.violations(pod)) == {"account", "token", "service links"}


@BOTH
def test_every_account_is_one_of_ours(values: Any) -> None:
    ours = {doc["metadata"]["name"] for doc in pods.documents("accounts.yaml")}
    parts = [
        part for part in values.values() if isinstance(part, dict) and "serviceAccount" in part
    ]
    assert len(parts) >= 5
    for part in parts:
        assert part["serviceAccount"]["create"] is False
        assert part["serviceAccount"]["name"] in ours


@BOTH
def test_the_chart_makes_nothing_with_a_password_or_right_of_its_own(values: Any) -> None:
    for name in ("createUserJob", "postgresql", "pgbouncer", "statsd", "flower"):
        assert values[name] == {"enabled": False}, name
    assert values["allowPodLaunching"] is values["apiServer"]["allowPodLogReading"] is False
    assert values["enableServiceLinks"] is False
    assert values["networkPolicies"] == {"enabled": False}


def secrets_of(values: Any) -> set[str]:
    """The names of all secrets that values refer to."""
    if not isinstance(values, dict):
        return set()
    own = {value for key, value in values.items() if key.endswith("SecretName")}
    return own.union(*map(secrets_of, values.values()))


def test_the_page_makes_every_secret_that_is_referred_to() -> None:
    page = (pods.FOLDER / "README.md").read_text()
    assert secrets_of(KUBERNETES) == {
        *("skin-fernet-key", "skin-api-secret-key", "skin-jwt-secret", "skin-database")
    }
    for name in secrets_of(CELERY):
        assert f"secret {name} --from-literal=" in page, name


def test_the_pod_template_passes_through_helm_unchanged() -> None:
    assert "{{" not in (pods.FOLDER / "pod-template.yaml").read_text()


# --- settings ------------------------------------------------------------------------------------


def test_every_setting_exists_and_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        f"SKIN_{name.upper()}" for name in {**Deployment.model_fields, **Settings.model_fields}
    }
    given = {name: text for name, text in pods.settings().items() if name.startswith("SKIN_")}
    assert set(given) <= known
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    deployment = read_deployment()
    assert deployment.store == "s3://example-skin/store"
    assert deployment.resources.startswith("train=")


@pytest.mark.parametrize("page", ["docs/operating.md", "deploy/kubernetes/settings.yaml"])
def test_every_example_of_resources_is_accepted(page: str) -> None:
    text = (pods.ROOT / page).read_text()
    examples = re.findall(r'SKIN_RESOURCES="(.+)"', text)
    examples += [
        f"{line}, *=cpu:1 memory:4Gi disk:30Gi" for line in re.findall(r"#   (\w+=.+)", text)
    ]
    assert examples
    for example in examples:
        assert read_resources(example)["features"].gpu == 1


def test_every_option_of_airflow_exists() -> None:
    from airflow.configuration import conf
    from airflow.providers.cncf.kubernetes import get_provider_info

    of_provider: Any = get_provider_info.get_provider_info()  # type: ignore[no-untyped-call]
    known = {**conf.configuration_description, **of_provider["config"]}
    names = [name for name in pods.settings() if name.startswith("AIRFLOW__")]
    assert len(names) > 8
    for name in names:
        _, section, option = name.split("__")
        assert option.lower() in known[section.lower()]["options"], name


def test_logs_go_to_the_bucket_and_pods_do_not_stay() -> None:
    given = pods.settings()
    assert given["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "True"
    assert given["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"].startswith("s3://example-skin/")
    assert given["AIRFLOW__KUBERNETES_EXECUTOR__DELETE_WORKER_PODS_ON_FAILURE"] == "True"
