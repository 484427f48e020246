"""What an error of a server means, and which setting a person should change.

The texts name settings by a `SettingNames`: the same error about a bucket of images and about the
store leads to different settings.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class SettingNames(NamedTuple):
    """What messages about a bucket call its settings; by default, those of the store.

    Attributes:
        address: The setting with the bucket's URL.
        connection: The setting that names the Airflow connection with the credentials.
        endpoint: The setting with the server's URL.
        rights: What an identity must be allowed to do in the bucket.
        public: What to do about a bucket that needs no credentials.
    """

    address: str = "SKIN_STORE"
    connection: str = "SKIN_STORE_CONNECTION"
    endpoint: str = "SKIN_S3_ENDPOINT"
    rights: str = "list, read, write and delete"
    public: str = ""


STORE = SettingNames()

CHANGE_CREDENTIALS = (
    "Change the Airflow connection that {0.connection} names, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
EXPIRED = (  # error codes of servers for a session token that has ended
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidTokenId",
    "RequestExpired",
    "TokenRefreshRequired",
)
# How to turn checksums off for a server that does not know them.
WITHOUT_CHECKSUMS = (
    "Set AWS_REQUEST_CHECKSUM_CALCULATION and AWS_RESPONSE_CHECKSUM_VALIDATION to when_required, "
    'or add {{"config_kwargs": {{"request_checksum_calculation": "when_required", '
    '"response_checksum_validation": "when_required"}}}} to the extra of the Airflow connection '
    "that {0.connection} names; the SHA-256 of what is written then goes along as metadata"
)
CHECKSUMS = (
    "this server, or a proxy before it, does not know the checksums of newer clients. "
    f"{WITHOUT_CHECKSUMS}"
)
# What servers that do not know checksums name in their errors.
ABOUT_CHECKSUMS = re.compile(r"checksum|x-amz-sdk-|trailer|aws-chunked|STREAMING-", re.IGNORECASE)
# By error code. Codes are those of AWS, of other servers and of botocore's exceptions; {0} is a
# `SettingNames`.
ADVICE: dict[tuple[str, ...], str] = {
    EXPIRED: (
        "the session token has expired, and no other was found where the credentials come from. "
        f"If it stays so: {CHANGE_CREDENTIALS}; or this machine's clock is wrong"
    ),
    (
        "LoginRefreshRequired",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    ): "the sign-in of boto3's profile has ended. Sign in again (aws sso login)",
    (
        "ConfigNotFound",
        "ConfigParseError",
        "InvalidChecksumConfigError",
        "InvalidMaxRetryAttemptsError",
        "InvalidRetryConfigurationError",
        "InvalidRetryModeError",
        "InvalidS3AddressingStyleError",
    ): (
        "a setting of boto3's does not fit. Look at config_kwargs of the Airflow connection that "
        "{0.connection} names, at AWS_* variables and at ~/.aws/config"
    ),
    ("CertificateError",): (
        "the server's certificate is not signed by an authority that this machine trusts. Name a "
        "file with the right one in AWS_CA_BUNDLE, or in the extra `verify` of the Airflow "
        "connection that {0.connection} names"
    ),
    ("XAmzContentSHA256Mismatch", "MalformedTrailerError"): CHECKSUMS,
    ("NoSuchBucket", "InvalidBucketName"): (
        "there is no such bucket. Create it, or change {0.address} or {0.endpoint}"
    ),
    (
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidSecurity",
    ): f"the credentials are wrong or have expired. {CHANGE_CREDENTIALS}",
    ("HTTPClientError",): (
        f"the credentials have a line break or a letter that no key has. {CHANGE_CREDENTIALS}"
    ),
    ("ProfileNotFound",): (
        "boto3 knows no profile of this name. Correct AWS_PROFILE, or the profile in the Airflow "
        "connection that {0.connection} names; or add it to ~/.aws/config"
    ),
    ("InvalidObjectState",): (
        "the object is in an archive (Glacier) from which nothing is read at once. Restore it, or "
        "copy it into another storage class"
    ),
    ("NoCredentialsError", "PartialCredentialsError"): (
        f"there are no credentials, or only half of them. {CHANGE_CREDENTIALS}{{0.public}}"
    ),
    ("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"): (
        "the credentials do not allow it. Give them permission to {0.rights} there. "
        f"{CHANGE_CREDENTIALS}"
    ),
    ("RequestTimeTooSkewed",): (
        "this machine's clock and the server's differ too much. Set the clock"
    ),
    (
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidRegionError",
        "301",
    ): (
        "the bucket is in another region. Set region_name in the connection that "
        "{0.connection} names, or AWS_DEFAULT_REGION"
    ),
    (
        "KMS.DisabledException",
        "KMS.InvalidKeyUsageException",
        "KMS.InvalidStateException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
    ): (
        "the server cannot use the encryption key: it does not exist in the bucket's region, is "
        "switched off or is about to be deleted. Mend the key; SKIN_S3_KMS_KEY names the one to "
        "write with"
    ),
    ("InvalidEncryptionAlgorithmError", "InvalidArgument"): (
        "the server does not know a part of the request. For a write, check "
        "SKIN_S3_ENCRYPTION and SKIN_S3_KMS_KEY; then check {0.endpoint}"
    ),
    ("InvalidStorageClass",): (
        "the server has no such storage class. Change SKIN_S3_STORAGE_CLASS, or leave it empty"
    ),
    ("NotImplemented", "501"): (
        "this server does not know conditional writes, which keep two runs from overwriting each "
        "other, or not what SKIN_S3_ENCRYPTION requires. Name one that does in {0.endpoint}"
    ),
    ("CredentialRetrievalError",): (
        f"the service that gives credentials did not. If it stays so: {CHANGE_CREDENTIALS}"
    ),
}
# Goes before the other rights of an identity that writes with a key of KMS.
KMS_RIGHTS = "use the KMS key (kms:GenerateDataKey, kms:Decrypt), and to "
# For every other code.
REFUSED = "the server refused it. Check {0.address} and {0.endpoint}"


def advice(code: str, names: SettingNames) -> str:
    """Returns what an error code means, and what to do about it."""
    text = next((text for codes, text in ADVICE.items() if code in codes), REFUSED)
    return text.format(names)
