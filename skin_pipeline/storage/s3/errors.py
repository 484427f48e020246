"""What S3 answered, or failed to answer, as errors of this project."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from skin_pipeline.errors import BadInput, PipelineError, Unavailable, UnavailableHere
from skin_pipeline.storage.s3.advice import (
    ABOUT_CHECKSUMS,
    CHECKSUMS,
    EXPIRED,
    STORE,
    SettingNames,
    advice,
)

# Error codes of a server that is overloaded, or that got only a part of a request. The same request
# may succeed later.
SLOW = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "IncompleteBody",
    "BadDigest",
    "OperationAborted",
}
SKEWED = "RequestTimeTooSkewed"


def explained(
    call: Callable[[], Any],
    doing: str,
    none_on: Collection[str] = (),
    names: SettingNames = STORE,
) -> Any:
    """Returns `call()`, or None if S3 answers with one of the error codes `none_on`.

    Args:
        call: A request by boto3.
        doing: What the request is for, after "cannot".
        none_on: Error codes that are an answer, and no error.
        names: The settings that a message may tell a person to change.

    Raises:
        BadInput, Unavailable: what went wrong, and which setting to change.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        return call()
    except ClientError as error:
        code, status = _answer(error)
        if code in none_on:
            return None
        problem = _refusal(code, status, doing, names, _said(error))
    except (BotoCoreError, ResponseParserError) as error:
        problem = _failure(error, doing, names)
    # Raised outside of the `except`, so that botocore's error is not attached to it: that one may
    # quote a header or an address with a credential in it.
    raise problem


def _answer(error: Any) -> tuple[str, int]:
    """Returns the code and the HTTP status of an error that S3 answered with."""
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    return code, int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _said(error: Any) -> str:
    """Returns the message of an error that S3 answered with, and the header that it names."""
    answer = error.response.get("Error", {})
    return (
        f"{answer.get('Message', '')} {answer.get('Header', '')} {answer.get('ArgumentName', '')}"
    )


def _refusal(code: str, status: int, doing: str, names: SettingNames, said: str) -> PipelineError:
    """Returns the error for what S3 answered."""
    if code == SKEWED:
        return UnavailableHere(f"cannot {doing} now: {advice(code, names)} ({code})")
    if code in EXPIRED:
        return Unavailable(f"cannot {doing} now: {advice(code, names)} ({code})")
    # 501 is no fault that passes: the server does not know the operation.
    passing = status in {408, 409, 429} or (status >= 500 and status != 501)
    if code in SLOW or passing:
        return Unavailable(f"cannot {doing} now: the server is busy or out of order ({code})")
    if ABOUT_CHECKSUMS.search(said):
        return BadInput(f"cannot {doing}: {CHECKSUMS.format(names)} ({code})")
    return BadInput(f"cannot {doing}: {advice(code, names)} ({code})")


def _failure(error: Exception, doing: str, names: SettingNames) -> PipelineError:
    """Returns the error for a request without an answer, or with one that makes no sense."""
    from botocore import exceptions as boto

    code = type(error).__name__
    garbled = (boto.IncompleteReadError, boto.FlexibleChecksumError)
    if isinstance(error, garbled):
        return Unavailable(f"cannot {doing} now: the bytes did not arrive whole ({code})")
    if isinstance(error, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return BadInput(f"cannot {doing}: {advice('CertificateError', names)} ({code})")
    if isinstance(error, boto.CredentialRetrievalError):
        return Unavailable(f"cannot {doing} now: {advice(code, names)} ({code})")
    # All others of this family are connections that failed. The bare HTTPClientError is a request
    # that could not even be written, because of a credential with a line break.
    no_answer = isinstance(error, (boto.HTTPClientError, boto.ConnectionError))
    if no_answer and type(error) is not boto.HTTPClientError:
        return Unavailable(
            f"cannot {doing} now: no answer ({code}). If it stays so, check {names.endpoint} and "
            "that the server runs"
        )
    return BadInput(f"cannot {doing}: {advice(code, names)} ({code})")
