"""What a provider of one's own is made of; these names stay.

A provider is a value of `Provider`: facts, `build` and `judge`. Its package names it in an entry
point of the group `batch_reimagine.providers`; its tests assert that `faults_of` finds nothing.
"""

from batch_reimagine.provider import GROUP
from batch_reimagine.provider.billing import Billing, Charge, Funds
from batch_reimagine.provider.conformance import faults_of
from batch_reimagine.provider.contract import Action, Ask, Option, Provider, Request, Verdict
from batch_reimagine.provider.judging import (
    NO_JSON,
    by_status,
    decoded,
    is_success,
    malformed,
    small,
    text_of,
    unreadable,
)
from batch_reimagine.provider.multipart import form
from batch_reimagine.settings import ImageType
from batch_reimagine.work import Upload

__all__ = [
    "GROUP",
    "NO_JSON",
    "Action",
    "Ask",
    "Billing",
    "Charge",
    "Funds",
    "ImageType",
    "Option",
    "Provider",
    "Request",
    "Upload",
    "Verdict",
    "by_status",
    "decoded",
    "faults_of",
    "form",
    "is_success",
    "malformed",
    "small",
    "text_of",
    "unreadable",
]
