"""Pure: every error of GPTDock, with the status, `type` and `code` that a caller is told.

GPTDockError
├── CallerGone                    the caller left, or stopped reading: there is no one to tell
├── LeaseNotReleased              an operator would end a lease that holds nothing, or whose process lives
├── SettingsError                 a setting is missing or invalid: one line, and the process does not start
└── APIError                      becomes {"error": {...}, "request_id"}: see data/openapi.json
    ├── InvalidRequest            400 invalid_request
    │   ├── Rejected              400 the same, or any other 4xx and code that the upstream answered, in its words
    │   ├── PromptTooLong         400 prompt_too_long
    │   └── ContextLengthExceeded 400 context_length_exceeded
    ├── QuotaExceeded             402 insufficient_quota
    │   └── QuotaOnHold           429 quota_on_hold
    ├── Forbidden                 403 forbidden
    ├── NotFound                  404 not_found
    │   ├── ClientNotFound        404 client_not_found
    │   └── ModelNotFound         404 model_not_found
    ├── MethodNotAllowed          405 method_not_allowed
    ├── RequestTimeout            408 request_timeout
    ├── PayloadTooLarge           413 payload_too_large
    ├── UnsupportedEncoding       415 unsupported_encoding
    ├── RateLimited               429 rate_limited
    ├── InternalError             500 internal_error
    ├── UpstreamError             502 upstream_error: it refused, failed, or its answer was invalid
    │   ├── UpstreamRefused       502 the same: it rejects the request; for the caller who wrote that: Rejected
    │   └── UpstreamLost          502 the same, after it may have begun to generate
    ├── UpstreamTimeout           504 upstream_timeout: a deadline passed before its answer was whole
    └── Unavailable               503
        ├── Overloaded            503 overloaded
        ├── Draining              503 draining
        ├── LedgerUnavailable     503 ledger_unavailable
        └── UpstreamQuota         503 upstream_quota
"""

from typing import Any, ClassVar, Literal

from gptdock.quotas import Quota

Code = (
    Literal["invalid_request", "prompt_too_long", "context_length_exceeded", "insufficient_quota", "quota_on_hold"]
    | Literal["forbidden", "not_found", "client_not_found", "model_not_found", "method_not_allowed", "request_timeout"]
    | Literal["payload_too_large", "unsupported_encoding", "rate_limited", "internal_error", "unavailable"]
    | Literal["upstream_error", "upstream_timeout", "upstream_quota", "overloaded", "draining", "ledger_unavailable"]
)


class GPTDockError(Exception):
    """The root of every error that GPTDock raises on purpose."""


class SettingsError(GPTDockError):
    """A setting is missing or invalid. Its text is one line that names the setting and never holds a secret."""


class LeaseNotReleased(GPTDockError):
    """The lease that an operator wanted to end holds no tokens, or its process lives. Its text is one line."""


class CallerGone(GPTDockError):
    """A write to the caller failed, or took longer than WRITE_TIMEOUT."""


class APIError(GPTDockError):
    """An error that a caller is told: `message` is for people, `param` the field that is wrong, `code` for programs."""

    status: int = 500
    type: ClassVar[str] = "api_error"
    code: ClassVar[Code] = "internal_error"
    message: ClassVar[str] = "Internal error."
    retry_after: int | None = None  # seconds
    should_retry = True  # False: tells OpenAI's clients not to repeat the request: it was charged, or repeating is vain
    rejection: "Rejected | None" = None  # what a caller is told instead who wrote the upstream's request
    upstream_code = cause = ""  # told in place of `code`; and what the upstream said, which `gptdock dev` tells
    quota: Quota | None = None  # the client's, where it is the reason, or looks alike

    def __init__(self, message: str = "", *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message or self.message)
        self.param = param
        self.retry_after = self.retry_after if retry_after is None else retry_after

    def to_json(self, request_id: str) -> dict[str, Any]:
        """The body of the answer, in the form of OpenAI's own errors."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.upstream_code or self.code}
        return {"error": error | (self.quota.to_json() if self.quota else {}), "request_id": request_id}


class InvalidRequest(APIError):
    """The request does not follow the contract; `param` names the field."""

    status, type, message = 400, "invalid_request_error", "Invalid request."
    code: ClassVar[Code] = "invalid_request"


class Rejected(InvalidRequest):
    """The upstream rejects a request that the caller wrote: its own status, message and code. Nothing is charged."""

    def __init__(self, message: str = "", *, status: int = 400, param: str | None = None, code: str = "") -> None:
        super().__init__(message, param=param)
        self.status, self.upstream_code = status, code


class PromptTooLong(InvalidRequest):
    """The question alone, or the messages, are over MAX_PROMPT_TOKENS."""

    code, message = "prompt_too_long", "The prompt is too long."


class ContextLengthExceeded(InvalidRequest):
    """The upstream says that the prompt does not fit the model."""

    code, message = "context_length_exceeded", "The prompt is too long for the model."


class QuotaExceeded(APIError):
    """The quota cannot pay for the prompt and a minimal answer. 402, not 429, which OpenAI clients retry."""

    status, type, quota = 402, "insufficient_quota", Quota(0, 0, 0)
    code: ClassVar[Code] = "insufficient_quota"
    message = "The remaining token quota is too small for this request."


class QuotaOnHold(QuotaExceeded):
    """As QuotaExceeded, but only until answers end that hold tokens now."""

    status, type, code, retry_after = 429, "rate_limit_error", "quota_on_hold", 3
    message = "The remaining token quota is reserved for answers that are still open. Try again in a moment."


class Forbidden(APIError):
    """The request has no valid key for its route."""

    status, type, code, message = 403, "permission_error", "forbidden", "A valid key is required."


class NotFound(APIError):
    """No such route."""

    status, type, message = 404, "not_found_error", "No such route."
    code: ClassVar[Code] = "not_found"


class ClientNotFound(NotFound):
    """The client has never used this product, and no operator has created it."""

    code, message = "client_not_found", "This client is not known for this product."


class ModelNotFound(NotFound):
    """The model is neither OPENAI_MODEL nor one of OPENAI_MODELS."""

    type, code, message = "invalid_request_error", "model_not_found", "No such model."


class MethodNotAllowed(APIError):
    """The route exists, but not for this method."""

    status, type, code, message = 405, "invalid_request_error", "method_not_allowed", "This method is not allowed."


class RequestTimeout(APIError):
    """The body did not arrive within BODY_TIMEOUT."""

    status, type, code, message = 408, "invalid_request_error", "request_timeout", "The request body took too long."


class PayloadTooLarge(APIError):
    """The body is over MAX_BODY_BYTES."""

    status, type, code, message = 413, "invalid_request_error", "payload_too_large", "The request body is too large."


class UnsupportedEncoding(APIError):
    """The body has a Content-Encoding."""

    status, type, code = 415, "invalid_request_error", "unsupported_encoding"
    message = "Content-Encoding is not supported."


class RateLimited(APIError):
    """The upstream still refused by its rate limit after our retries."""

    status, type, code, quota = 429, "rate_limit_error", "rate_limited", Quota(0, 0, 0)
    message = "The upstream's rate limit is reached. Try again later."


class InternalError(APIError):
    """A fault of GPTDock; the log has it under the request id."""

    should_retry = False


class UpstreamError(APIError):
    """The upstream was not reached, refused, or its answer was invalid. It is charged only if it may have generated."""

    status, type, message = 502, "upstream_error", "The upstream failed."
    code: ClassVar[Code] = "upstream_error"


class UpstreamRefused(UpstreamError):
    """The upstream rejects the request, and would again: nothing is charged."""

    message = "The upstream rejected the request."


class UpstreamLost(UpstreamError):
    """The connection to the upstream broke after the request was sent: it may have generated, so charged by count."""

    message = "The upstream's answer broke off."


class UpstreamTimeout(APIError):
    """A deadline passed before the answer was whole; charged by count if the upstream may have generated."""

    status, type, code, message = 504, "upstream_error", "upstream_timeout", "The upstream took too long."


class Unavailable(APIError):
    """GPTDock cannot serve the request now; try again in `retry_after` seconds."""

    status, type, retry_after = 503, "unavailable_error", 1
    code: ClassVar[Code] = "unavailable"


class Overloaded(Unavailable):
    """MAX_STREAMS completions are open in this process."""

    code, message = "overloaded", "Too many completions are open. Try again in a moment."


class Draining(Unavailable):
    """This process is stopping."""

    code, message = "draining", "This process is restarting. Try again."


class LedgerUnavailable(Unavailable):
    """DynamoDB did not say in time what is left. `fault`, for the log, is its own code or the exception's class."""

    code, message = "ledger_unavailable", "Quotas cannot be checked now. Try again in a moment."

    def __init__(self, message: str = "", *, fault: str = "", retry_after: int | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.fault = fault


class UpstreamQuota(Unavailable):
    """GPTDock's own account at the upstream is out of credit."""

    code, message, retry_after = "upstream_quota", "The account at the upstream is out of credit.", 60
    should_retry = False  # a person must pay first
