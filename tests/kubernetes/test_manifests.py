"""The manifests that no chart makes: valid, without secrets, and who may do and reach what."""

from __future__ import annotations

import copy
import ipaddress
from typing import Any

import pods
import pytest
import yaml

BY_HELM = {"values.yaml", "values-celery.yaml", "pod-template.yaml", "celery-workers.yaml"}
(LIST,) = pods.documents("kustomization.yaml")
APPLIED = [doc for name in LIST["resources"] for doc in pods.documents(name)]
OTHERS = [*pods.documents("pod-template.yaml"), *pods.documents("celery-workers.yaml")]


def named(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {doc["metadata"]["name"]: doc for doc in APPLIED if doc["kind"] == kind}


def test_every_file_is_applied_by_somebody() -> None:
    files = {path.name for path in pods.FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == BY_HELM | set(LIST["resources"])


@pytest.mark.parametrize("manifest", [*APPLIED, *OTHERS], ids=named)
def test_kubernetes_knows_every_field(manifest: dict[str, Any]) -> None:
    pods.check(manifest)


def test_nothing_is_a_secret() -> None:
    names = [path.name for path in pods.FOLDER.glob("*.yaml")]
    assert "Secret" not in {doc["kind"] for doc in [*APPLIED, *OTHERS]}
    for name in names:
        for text in (pods.FOLDER / name).read_text().splitlines():
            key, _, value = text.partition(":")
            assert not pods.plain_secret(key.strip(), value.strip(' "')), text
    for name, value in pods.settings().items():
        assert not pods.plain_secret(name, value), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKIN_SIGNING_PASSWORD", "correct horse"),
        ("AIRFLOW__CORE__FERNET_KEY", "Zm9vYmFyYmF6"),
        ("SKIN_STORE", "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENG@bucket"),
    ],
)
def test_a_secret_would_be_noticed(name: str, value: str) -> None:
    assert pods.plain_secret(name, value)


# --- accounts ------------------------------------------------------------------------------------


def test_the_bucket_is_opened_by_roles_and_only_the_pages_may_not_write() -> None:
    roles = {
        name: account["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn", "")
        for name, account in of_kind("ServiceAccount").items()
    }
    assert {name: role.rpartition("/")[2] for name, role in roles.items()} == {
        "skin-api-server": "skin-reader",
        "skin-dag-processor": "skin-writer",
        "skin-none": "",
        "skin-scheduler": "",
        "skin-worker": "skin-writer",
    }


def test_only_the_scheduler_starts_pods_and_only_the_pages_read_their_logs() -> None:
    rights: dict[str, set[tuple[str, str]]] = {}
    for binding in of_kind("RoleBinding").values():
        role = of_kind("Role")[binding["roleRef"]["name"]]
        for subject in binding["subjects"]:
            given = rights.setdefault(subject["name"], set())
            for rule in role["rules"]:
                given |= {(verb, kind) for verb in rule["verbs"] for kind in rule["resources"]}
    starts = ("create", "delete", "get", "list", "patch", "watch")
    assert rights == {
        "skin-scheduler": {(verb, "pods") for verb in starts},
        "skin-api-server": {("list", "pods"), ("get", "pods/log")},
    }


def test_who_has_no_right_in_the_cluster_has_no_token_for_it_either() -> None:
    tokens = {
        name: account["automountServiceAccountToken"]
        for name, account in of_kind("ServiceAccount").items()
    }
    assert {name for name, has in tokens.items() if has} == {"skin-scheduler", "skin-api-server"}


def test_the_namespace_refuses_what_is_not_restricted() -> None:
    labels = of_kind("Namespace")["skin"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert LIST["namespace"] == "skin"


# --- who reaches whom ----------------------------------------------------------------------------

PARTS: dict[str, dict[str, str]] = {
    **{
        name: {"tier": "airflow", "component": name, "release": "skin"}
        for name in (
            *("api-server", "dag-processor", "redis", "run-airflow-migrations", "scheduler"),
            *("triggerer", "worker"),
        )
    },
    "celery": pods.documents("celery-workers.yaml")[0]["spec"]["template"]["metadata"]["labels"],
    "stranger": {"app": "another"},
}
POLICIES = list(of_kind("NetworkPolicy").values())
PORTS = (22, 80, 443, 5432, 6379, 8080, 8793, 10250)


def fits(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector chooses a pod with these labels; it fails on what it does not know."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        wanted = wanted and labels.get(rule["key"]) in rule["values"]
    return bool(wanted)


def opened(ports: list[dict[str, Any]], port: int, protocol: str) -> bool:
    return any(one["port"] == port and one.get("protocol", "TCP") == protocol for one in ports)


def lets(
    policies: list[dict[str, Any]],
    way: str,
    labels: dict[str, str],
    other: dict[str, str] | str,
    port: int,
) -> bool:
    """Whether a policy of a pod lets it reach (Egress), or be reached by (Ingress), another one.

    Args:
        other: The labels of a pod in the same namespace, or an address.
    """
    end = {"Egress": "to", "Ingress": "from"}[way]
    for policy in policies:
        spec = policy["spec"]
        if way not in spec["policyTypes"] or not fits(spec["podSelector"], labels):
            continue
        for rule in spec.get(way.lower(), []):
            if opened(rule["ports"], port, "TCP") and any(is_of(peer, other) for peer in rule[end]):
                return True
    return False


def is_of(peer: dict[str, Any], other: dict[str, str] | str) -> bool:
    if isinstance(other, str):
        return "ipBlock" in peer and within(peer["ipBlock"], other)
    return set(peer) == {"podSelector"} and fits(peer["podSelector"], other)


def within(block: dict[str, Any], address: str) -> bool:
    place = ipaddress.ip_address(address)
    kept = [ipaddress.ip_network(network) for network in block.get("except", [])]
    return place in ipaddress.ip_network(block["cidr"]) and not any(place in one for one in kept)


def reached(policies: list[dict[str, Any]]) -> set[tuple[str, str, int]]:
    """All pairs of parts of which one can open a connection to the other, with the port."""
    return {
        (source, target, port)
        for source, mine in PARTS.items()
        for target, its in PARTS.items()
        for port in PORTS
        if lets(policies, "Egress", mine, its, port) and lets(policies, "Ingress", its, mine, port)
    }


WANTED = {
    ("worker", "api-server", 8080),
    ("celery", "api-server", 8080),
    ("celery", "redis", 6379),
    ("scheduler", "redis", 6379),
}


def test_the_parts_reach_each_other_only_where_they_must() -> None:
    assert reached(POLICIES) == WANTED


@pytest.mark.parametrize("policy", [policy["metadata"]["name"] for policy in POLICIES])
def test_each_policy_opens_something_and_one_closes_all_the_rest(policy: str) -> None:
    fewer = [one for one in POLICIES if one["metadata"]["name"] != policy]
    nothing = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if policy == "nothing":
        assert of_kind("NetworkPolicy")[policy]["spec"] == nothing
    else:
        everything = (reached(POLICIES), abroad(POLICIES))
        assert (reached(fewer), abroad(fewer)) != everything or policy == "names"


ADDRESSES = {
    "database": ("10.1.2.3", 5432),
    "kubernetes": ("10.96.0.1", 443),
    "s3": ("52.219.1.1", 443),
    "mail": ("52.1.1.1", 587),
    "s3 over IPv6": ("2600:1fa0::1", 443),
    "node's credentials": ("169.254.169.254", 443),
    "node's credentials over HTTP": ("169.254.169.254", 80),
    "private over IPv6": ("fd00::1", 443),
    "plain web": ("52.1.1.1", 80),
    "kubelet": ("10.0.0.1", 10250),
}


def abroad(policies: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Which part reaches which address."""
    return {
        place: {
            name for name, mine in PARTS.items() if lets(policies, "Egress", mine, address, port)
        }
        for place, (address, port) in ADDRESSES.items()
    }


def test_the_parts_reach_only_the_addresses_that_they_must() -> None:
    outside = {"api-server", "celery", "dag-processor", "worker"}
    of_database = {"api-server", "dag-processor", "scheduler", "triggerer"}
    assert abroad(POLICIES) == {
        "database": of_database | {"run-airflow-migrations"},
        "kubernetes": {"api-server", "scheduler"},
        **dict.fromkeys(("s3", "mail", "s3 over IPv6"), outside),
        "node's credentials": set(),
        "node's credentials over HTTP": set(),
        "private over IPv6": set(),
        "plain web": set(),
        "kubelet": set(),
    }


def test_a_policy_that_lets_too_many_in_is_noticed() -> None:
    wider = copy.deepcopy(POLICIES)
    (api,) = [one for one in wider if one["metadata"]["name"] == "api"]
    api["spec"]["ingress"][0]["from"].append({"podSelector": {}})
    (tasks,) = [one for one in wider if one["metadata"]["name"] == "tasks-to-api"]
    tasks["spec"]["podSelector"] = {}
    assert ("redis", "api-server", 8080) in reached(wider) - WANTED


# --- Celery workers ------------------------------------------------------------------------------


def test_a_celery_worker_holds_what_a_task_holds_and_the_broker_as_a_file() -> None:
    (worker,) = pods.documents("celery-workers.yaml")
    (template,) = pods.documents("pod-template.yaml")
    made = worker["spec"]["template"]
    assert pods.violations(made) == []
    assert worker["spec"]["selector"]["matchLabels"].items() <= made["metadata"]["labels"].items()
    extra = {volume["name"] for volume in made["spec"]["volumes"]}
    assert extra - {volume["name"] for volume in template["spec"]["volumes"]} == {
        "broker",
        "results",
    }
    for name in ("securityContext", "serviceAccountName"):
        assert made["spec"][name] == template["spec"][name]
    values = yaml.safe_load((pods.FOLDER / "values.yaml").read_text())["images"]["airflow"]
    image = f"{values['repository']}:{values['tag']}"
    assert made["spec"]["containers"][0]["image"] == image
