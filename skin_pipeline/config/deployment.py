"""Where and how the pipeline is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from skin_pipeline.config.environment import parts, refuse_secrets
from skin_pipeline.config.placement import PlacementKnobs
from skin_pipeline.storage import S3Writing

FROZEN_CLASSES = ("GLACIER", "DEEP_ARCHIVE")  # S3 gives their objects back after hours only


class Deployment(PlacementKnobs):
    """Where and how the pipeline is installed: read from the environment only, and the same for
    all runs."""

    model_config = SettingsConfigDict(extra="ignore")

    store: str = Field(
        "file://var/store",
        description="Object storage: `file:///FOLDER` or `s3://BUCKET/PREFIX`.",
    )
    paths: str = Field(
        "",
        description="Folders below which the paths in a run's settings (`data`, `external`, "
        "`weights`) must be, links followed, as `/srv/skin, /mnt/clinic`; `/` for anywhere. "
        "Empty: in Airflow no path may be given, on the command line any.",
    )
    store_connection: str = Field(
        "",
        description="Airflow connection (type `aws`) with the S3 credentials. Empty: boto3's "
        "own search (environment, profile, instance role).",
    )
    s3_endpoint: str = Field("", description="URL of an S3 server other than AWS.")
    s3_encryption: Literal["", "AES256", "aws:kms"] = Field(
        "",
        description="How the S3 server encrypts what is written: `AES256`, or `aws:kms` with a key "
        "service. Empty: as the bucket does by default.",
    )
    s3_kms_key: str = Field(
        "",
        pattern=r"^[!-~]*$",
        description="Id of the key for `aws:kms`. Empty: the server's own.",
    )
    s3_storage_class: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="Storage class of what is written, such as `INTELLIGENT_TIERING`; not one "
        "whose objects must be thawed before they can be read. Empty: the server's default.",
    )
    s3_versioning: bool = Field(
        False,
        description="Whether to refuse to write to a bucket that does not keep old versions of its "
        "objects.",
    )
    data_connection: str = Field(
        "",
        description="Airflow connection (type `aws`) for images in S3. Empty: that of the store.",
    )
    data_endpoint: str = Field(
        "",
        description="URL of the S3 server with the images. Empty: that of the store.",
    )
    data_anonymous: bool = Field(
        False,
        description="Whether images in S3 are read without credentials, as public buckets allow.",
    )
    kaggle_connection: str = Field(
        "kaggle",
        description="Airflow connection with the Kaggle user name (login) and key "
        "(password). Outside Airflow: `KAGGLE_USERNAME` and `KAGGLE_KEY`.",
    )
    notify_connection: str = Field(
        "",
        description="Airflow connections that alerts go through (webhook, Slack, e-mail or any "
        "service of Apprise), as `pager, mail`. Empty: alerts go to the log.",
    )
    pool: str = Field("training", description="Airflow pool of the tasks that compute.")
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of one computing task, which takes as many slots of the pool; 0 for "
        "one in Airflow, and for all cores on the command line.",
    )
    alone_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of *ingest*, *evaluate* and *external* in Airflow, which take as many "
        "slots of the pool: it must have them. Few other tasks of a run compute at the same time. "
        "0 for `SKIN_THREADS`.",
    )
    scoring_engine: Literal["auto", "tensorflow", "openvino"] = Field(
        "auto",
        description="What runs a released model on new images. `auto` is OpenVINO if it is "
        "installed, the processor computes in half precision (AMX, AVX512-BF16), there is no GPU, "
        "and `image_size` is at least 160; else TensorFlow.",
    )
    memory_gib: float = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Most memory of one computing task, in GiB; 0 for what the machine has. A task "
        "that needs more fails before it begins, with the reason.",
    )
    features_gib: float = Field(
        50,
        gt=0,
        le=1_000_000,
        description="Most that the cached activations of one data set may take of the store, in "
        "GiB.",
    )
    part_seconds: float = Field(
        120,
        gt=0,
        le=1_000_000,
        description="Core-seconds of scoring for which a task of its own is worth its start. With "
        "less work `evaluate` or `external` does it alone. It must be the same on all workers.",
    )
    retries: int = Field(
        3,
        ge=0,
        le=20,
        description="How often Airflow tries a task again that could not reach something.",
    )
    time_factor: float = Field(
        1,
        gt=0,
        le=1000,
        description="Stretches the time that each task may take, which Airflow ends then. It is "
        "ten to twenty times what two cores need; raise it for slower machines.",
    )
    cache: str = Field(
        "",
        description="Folder of this user's alone for local copies of what is in S3. Empty: a "
        "folder in the system's temporary directory.",
    )
    cache_gib: float = Field(
        20,
        gt=0,
        le=1_000_000,
        description="Largest size of these local copies, in GiB: the least recently used go first.",
    )
    signing_key: str = Field(
        "",
        description="PEM file with the private EC key that versions and the results of steps are "
        "signed with; every process that runs steps needs it. Empty: they are not signed.",
    )
    signing_password: SecretStr | None = Field(
        None, description="Password of that key, if it is encrypted."
    )
    public_key: str = Field(
        "",
        description="PEM file with the public key that a version must be signed with to be "
        "promoted, rolled back to or loaded, and so must the pointers be that name it. Empty: "
        "signatures are not required.",
    )
    state: str = Field(
        "",
        description="Folder in which the moves of aliases that were seen here are remembered, so "
        "that an old pointer that was put back is noticed. Empty: `skin-pipeline` below "
        "`XDG_STATE_HOME` or `~/.local/state`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        return refuse_secrets(
            values,
            "Store the login in the Airflow connection that SKIN_STORE_CONNECTION or "
            "SKIN_DATA_CONNECTION names, outside Airflow where boto3 looks for it, and give "
            "s3://BUCKET/PREFIX and http(s)://HOST:PORT",
        )

    @field_validator("paths")
    @classmethod
    def _are_folders(cls, text: str) -> str:
        if relative := [part for part in parts(text) if not part.startswith("/")]:
            raise ValueError(f"each must be an absolute path, which {relative[0]!r} is not")
        return text

    @model_validator(mode="after")
    def _can_be_written(self) -> Deployment:
        if self.s3_kms_key and self.s3_encryption != "aws:kms":
            raise ValueError(
                "s3_kms_key is only for s3_encryption=aws:kms. "
                f"Received: s3_encryption={self.s3_encryption!r}; choose aws:kms, or leave "
                "s3_kms_key empty"
            )
        if self.s3_storage_class.upper() in FROZEN_CLASSES:
            raise ValueError(
                f"s3_storage_class must be one whose objects can be read at once, not one of "
                f"{', '.join(FROZEN_CLASSES)}. Received: {self.s3_storage_class!r}; choose another "
                "such as GLACIER_IR, or leave it empty"
            )
        return self

    @property
    def state_folder(self) -> str:
        """The folder in which moves that were seen are remembered; "" if there is none."""
        if self.state:
            return str(Path(self.state).absolute())
        given = Path(os.environ.get("XDG_STATE_HOME", ""))
        if given.is_absolute():
            return str(given / "skin-pipeline")
        try:
            return str(Path.home() / ".local/state/skin-pipeline")
        except RuntimeError:  # a container may run under a number without a name
            return ""

    @property
    def s3_writing(self) -> S3Writing:
        """The way in which objects are written to S3."""
        return S3Writing(
            self.s3_encryption, self.s3_kms_key, self.s3_storage_class, self.s3_versioning
        )

    @property
    def slots(self) -> int:
        """The slots of Airflow's pool that a computing task takes: one for each thread.

        Where nothing is set, a task in Airflow has one thread, since others run beside it.
        """
        return self.threads or 1

    @property
    def alone_slots(self) -> int:
        """The slots, and threads, of a computing task that its run waits for."""
        return self.alone_threads or self.slots

    @property
    def cache_bytes(self) -> int:
        """The largest size of the local copies, in bytes."""
        return int(self.cache_gib * 2**30)


def threads(deployment: Deployment) -> int:
    """Returns the threads that one computing task may use: all cores, where nothing is set.

    In Airflow something always is: a job there has a deployment with `slots` threads.
    """
    return deployment.threads or os.cpu_count() or 1
