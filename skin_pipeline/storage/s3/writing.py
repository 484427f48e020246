"""How objects are written to S3: encryption, storage class, checksums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class S3Writing:
    """How objects are written to S3; an empty option is left to the bucket.

    Attributes:
        encryption: On the server, `AES256` or `aws:kms`.
        kms_key: The key's id, for `aws:kms`.
        storage_class: Such as `STANDARD_IA`; one from which objects can be read at once.
        versioned: Whether to refuse a bucket that does not keep old versions of its objects.
    """

    encryption: str = ""
    kms_key: str = ""
    storage_class: str = ""
    versioned: bool = False

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of boto3's calls that begin an object."""
        named = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
        }
        return {name: value for name, value in named.items() if value}

    def arguments_for(self, client: Any, **metadata: str) -> dict[str, Any]:
        """Returns all arguments of a write by this client, with the metadata of the object."""
        return {"Metadata": metadata, **checksums_of(client), **self.arguments}


AS_THE_BUCKET_DOES = S3Writing()


def checksums_of(client: Any) -> dict[str, str]:
    """Returns the argument by which a client's writes have a checksum; empty if it sends none.

    Some servers do not know checksums; a person turns them off by a setting of boto3's.
    """
    wanted = client.meta.config.request_checksum_calculation
    return {} if wanted == "when_required" else {"ChecksumAlgorithm": "SHA256"}
