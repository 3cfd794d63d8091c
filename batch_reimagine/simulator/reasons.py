"""What the API calls its refusals: one table of reason, HTTP status and sentence.

Rule: a status is never written anywhere else, so that an answer cannot contradict its reason.
Where the vendor's status is an open question, the less obvious one is taken: a client that judges
by status alone is to be found out here, not in production.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

#: Reason → (HTTP status, message).
REASONS: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "INVALID_REQUEST_BODY": (400, "invalid request body"),
        "IMAGE_FILE_EXCEEDS_MAX_SIZE": (400, "image file exceeds 30 MB"),
        "IMAGE_EXCEEDS_MAX_RESOLUTION": (400, "image exceeds 1024 x 1024"),
        "INVALID_IMAGE_SIZE": (400, "invalid image size"),
        "INVALID_IMAGE_FORMAT": (400, "image is not a whole PNG or JPEG"),
        "ILLEGAL_IMAGE_CONTENT": (400, "image content is not allowed"),
        "MISSING_API_KEY": (400, "api key is missing"),
        "BILLING_BALANCE_NOT_ENOUGH": (400, "balance is not enough"),
        "BILLING_AUTH_FAILED": (400, "billing authorisation failed"),
        "FAILED_TO_AUTH": (401, "failed to authenticate"),
        "INVALID_API_KEY": (403, "api key is invalid"),
        "NOT_ENOUGH_BALANCE": (403, "balance is not enough"),
        "NOT_ENOUGH_BUDGET": (403, "budget is not enough"),
        "MEMBER_BUDGET_NOT_ENOUGH": (403, "the member's budget is not enough"),
        "BUDGET_NOT_ENOUGH": (403, "the team's budget is not enough"),
        "API_NOT_ALLOWED": (403, "this api is not allowed for the key"),
        "FEATURE_NOT_ALLOWED": (403, "this feature is not allowed for the key"),
        "NEED_REAL_NAME_VERIFY": (403, "the account needs to be verified"),
        "USER_IS_LOCKED": (403, "the account is locked"),
        "BANNED_USER": (403, "the account is banned"),
        "API_NOT_FOUND": (404, "api not found"),
        "REQUEST_ENTITY_TOO_LARGE": (413, "request body is too large"),
        "ANONYMOUS_ACCESS_QUOTA_EXCEEDS": (429, "anonymous access quota exceeded"),
        "RATE_LIMIT_EXCEEDED": (429, "rate limit exceeded"),
        "BILLING_FAILED": (500, "billing failed"),
        "CREATE_TASK_FAILED": (500, "failed to create the task"),
        "GET_RESULT_FAILED": (500, "failed to get the result"),
        "INTERNAL": (500, "internal error"),
        "TASK_FAILED": (500, "task failed"),
        "SERVICE_NOT_AVAILABLE": (503, "service not available"),
    }
)

#: The faults of a back end that say nothing about the picture.
BACK_END_FAULTS: Final = ("INTERNAL", "CREATE_TASK_FAILED", "GET_RESULT_FAILED", "BILLING_FAILED")


class Refusal(Exception):
    """The call ends here with `reason`; `metadata` names the field at fault, where one is."""

    def __init__(self, reason: str, message: str = "", **metadata: Any) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.status, default = REASONS[reason]
        self.message = message or default
        self.metadata = metadata
