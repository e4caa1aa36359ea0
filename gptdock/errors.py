"""Pure: what can go wrong, as the caller is told it: status, `type` and `code` of each error.

GPTDockError
├── CallerGone                    the caller left, or does not read: nobody is there to be told
├── SettingsError                 a setting is missing or wrong: one line, and the process does not start
└── APIError                      becomes {"error": {...}, "request_id"} (DESIGN: HTTP contract)
    ├── InvalidRequest            400 invalid_request
    │   ├── PromptTooLong         400 prompt_too_long
    │   └── ContextLengthExceeded 400 context_length_exceeded
    ├── QuotaExceeded             402 insufficient_quota
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
    ├── UpstreamError             502 upstream_error: it refused, broke, or sent something else
    │   ├── UpstreamRefused       502 the same, since the request is not valid: 400 where that is the caller's own
    │   └── UpstreamLost          502 the same, after it may have begun to generate
    ├── UpstreamTimeout           504 upstream_timeout: it took the request, then a deadline passed
    └── Unavailable               503
        ├── Overloaded            503 overloaded
        ├── Draining              503 draining
        ├── LedgerUnavailable     503 ledger_unavailable
        └── UpstreamQuota         503 upstream_quota
"""

from typing import Any, ClassVar, Literal

Code = (
    Literal["invalid_request", "prompt_too_long", "context_length_exceeded", "insufficient_quota", "forbidden"]
    | Literal["not_found", "client_not_found", "model_not_found", "method_not_allowed", "request_timeout"]
    | Literal["payload_too_large", "unsupported_encoding", "rate_limited", "internal_error"]
    | Literal["upstream_error", "upstream_timeout", "upstream_quota"]
    | Literal["unavailable", "overloaded", "draining", "ledger_unavailable"]
)


class GPTDockError(Exception):
    """The root of every error that GPTDock raises on purpose."""


class SettingsError(GPTDockError):
    """A setting is missing or wrong; the text is one line that names it, never a secret's value."""


class CallerGone(GPTDockError):
    """A write to the caller failed, or took longer than WRITE_TIMEOUT."""


class APIError(GPTDockError):
    """An error that a caller is told about: `message` in our words, `param` the field it is about."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: ClassVar[Code] = "internal_error"
    message: ClassVar[str] = "Something went wrong."
    retry_after: int | None = None
    should_retry = True  # False: clients that repeat a request by themselves shall not, mostly since it was charged

    def __init__(self, message: str = "", *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message or self.message)
        self.param = param
        if retry_after is not None:
            self.retry_after = retry_after

    def to_json(self, request_id: str) -> dict[str, Any]:
        """The body that an OpenAI client reads as an error."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": error, "request_id": request_id}


class InvalidRequest(APIError):
    """The request is not what the contract asks for; `param` names the field."""

    status, type = 400, "invalid_request_error"
    code: ClassVar[Code] = "invalid_request"
    message = "The request is not valid."


class PromptTooLong(InvalidRequest):
    """The question alone does not fit MAX_PROMPT_TOKENS."""

    code, message = "prompt_too_long", "The question is too long."


class ContextLengthExceeded(InvalidRequest):
    """The upstream says that the prompt does not fit the model."""

    code, message = "context_length_exceeded", "The prompt is too long for the model."


class QuotaExceeded(APIError):
    """The period's tokens are spent or on hold. 402, not 429, which OpenAI clients retry."""

    status, type, code = 402, "insufficient_quota", "insufficient_quota"
    message = "What is left of the token quota cannot hold this request."


class Forbidden(APIError):
    """The request carries no right key."""

    status, type, code = 403, "permission_error", "forbidden"
    message = "A valid key is required."


class NotFound(APIError):
    """No such route."""

    status, type = 404, "not_found_error"
    code: ClassVar[Code] = "not_found"
    message = "There is nothing here."


class ClientNotFound(NotFound):
    """This client was never seen for this product."""

    code, message = "client_not_found", "This client is not known for this product."


class ModelNotFound(NotFound):
    """The model is neither OPENAI_MODEL nor one of OPENAI_MODELS."""

    type, code = "invalid_request_error", "model_not_found"
    message = "There is no such model here."


class MethodNotAllowed(APIError):
    """The route exists, but not for this method."""

    status, type, code = 405, "invalid_request_error", "method_not_allowed"
    message = "This method is not allowed here."


class RequestTimeout(APIError):
    """The body did not come within BODY_TIMEOUT."""

    status, type, code = 408, "invalid_request_error", "request_timeout"
    message = "The body took too long."


class PayloadTooLarge(APIError):
    """The body is over MAX_BODY_BYTES."""

    status, type, code = 413, "invalid_request_error", "payload_too_large"
    message = "The body is too large."


class UnsupportedEncoding(APIError):
    """The body has a Content-Encoding."""

    status, type, code = 415, "invalid_request_error", "unsupported_encoding"
    message = "Send the body without a Content-Encoding."


class RateLimited(APIError):
    """The upstream's rate limit still held after our retries."""

    status, type, code = 429, "rate_limit_error", "rate_limited"
    message = "The upstream limits our rate. Try again later."


class InternalError(APIError):
    """A fault of ours; the log has it under the request id."""

    should_retry = False


class UpstreamError(APIError):
    """The upstream was not reached, refused, or sent something else than an answer: nothing is charged."""

    status, type = 502, "upstream_error"
    code: ClassVar[Code] = "upstream_error"
    message = "The upstream did not answer as it should."


class UpstreamRefused(UpstreamError):
    """The upstream answered 400: nothing is charged. `field` is the one that it named, if any."""

    message = "The upstream does not accept the request."

    def __init__(self, field: str | None = None) -> None:
        super().__init__()
        self.field = field


class UpstreamLost(UpstreamError):
    """The upstream broke off after it had the request, so it may have generated: charged by count."""

    message = "The upstream broke off."


class UpstreamTimeout(APIError):
    """The upstream had the request and then a deadline passed: charged by count."""

    status, type, code = 504, "upstream_error", "upstream_timeout"
    message = "The upstream took too long."


class Unavailable(APIError):
    """GPTDock cannot serve this now; `retry_after` seconds from now it may."""

    status, type = 503, "unavailable_error"
    code: ClassVar[Code] = "unavailable"
    retry_after = 1


class Overloaded(Unavailable):
    """MAX_STREAMS completions are open in this process."""

    code, message = "overloaded", "Too many requests are open. Try again in a moment."


class Draining(Unavailable):
    """This process is about to stop."""

    code, message = "draining", "This process is restarting. Try again."


class LedgerUnavailable(Unavailable):
    """DynamoDB did not answer clearly, or not in time, so nothing is admitted: no quota may be overspent.

    `fault` says why, for the log: DynamoDB's own code, or the class of what failed; empty if neither is known.
    """

    code, message = "ledger_unavailable", "Quotas cannot be checked right now. Try again in a moment."

    def __init__(self, message: str = "", *, fault: str = "", retry_after: int | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.fault = fault


class UpstreamQuota(Unavailable):
    """Our own account at the upstream is out of credit."""

    code, message = "upstream_quota", "The upstream account is out of quota."
    retry_after = 60
    should_retry = False  # a person must pay first; nothing was charged
