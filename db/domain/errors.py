"""Everything that may go wrong by design; a class's docstring is its message."""

from typing import ClassVar


class AppError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "SERVER_ERROR"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class Invalid(AppError):
    """The request is not valid."""

    code = "VALIDATION_ERROR"


class UnknownModel(Invalid):
    """No provider serves this model."""


class Unauthenticated(AppError):
    """Not authenticated."""

    code = "AUTH_REQUIRED"


class Forbidden(AppError):
    """Access denied."""

    code = "AUTHZ_FORBIDDEN"


class NotFound(AppError):
    """Not found."""

    code = "RESOURCE_NOT_FOUND"


class RunNotFound(NotFound):
    """Run not found"""

    code = "RUN_NOT_FOUND"


class Conflict(AppError):
    """The state of the object does not allow this."""

    code = "RESOURCE_CONFLICT"


class RunStillRunning(Conflict):
    """Cannot delete a running benchmark"""

    code = "RUN_STILL_RUNNING"


class RunNotRunning(Conflict):
    """This benchmark is not currently running"""

    code = "RUN_NOT_RUNNING"


class TooMany(AppError):
    """Too many requests."""

    code = "RATE_LIMITED"

    def __init__(self, message: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(AppError):
    """The service cannot reach its database; try again shortly."""

    code = "SERVER_UNAVAILABLE"


class MethodNotAllowed(AppError):
    """This path does not know this method."""

    code = "METHOD_NOT_ALLOWED"


class BodyTooLarge(AppError):
    """The request body is too large."""

    code = "PAYLOAD_TOO_LARGE"


class WrongMediaType(AppError):
    """The request body must be JSON: send Content-Type: application/json."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class ProviderFailed(AppError):
    """The provider could not answer."""

    code = "PROVIDER_ERROR"


class ProviderTimeout(ProviderFailed):
    """The provider did not answer in time."""

    code = "PROVIDER_TIMEOUT"


class ProviderRefused(ProviderFailed):
    """The provider refused the request."""

    code = "PROVIDER_REFUSED"


class ProviderLimited(ProviderFailed):
    """The provider's rate limit was reached."""

    code = "PROVIDER_RATE_LIMITED"


class ProviderUnreachable(ProviderFailed):
    """The connection to the provider failed."""

    code = "PROVIDER_UNREACHABLE"


class ProviderBadResponse(ProviderFailed):
    """The provider's answer does not follow its protocol."""

    code = "PROVIDER_BAD_RESPONSE"


class ProviderAnswerTooLarge(ProviderFailed):
    """The provider's answer exceeds the size limit."""

    code = "PROVIDER_RESPONSE_TOO_LARGE"


class ProviderRedirect(ProviderFailed):
    """The provider answered with a redirect, which is never followed."""

    code = "PROVIDER_REDIRECT"


class EgressDenied(ProviderFailed):
    """This address may not be called from here."""

    code = "EGRESS_DENIED"


class LeaseLost(AppError):
    """Another worker holds this slice now."""

    code = "LEASE_LOST"
