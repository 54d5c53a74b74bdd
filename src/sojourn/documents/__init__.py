"""Documents: state that one process holds for a while, changes in memory, saves, and hands on."""

from sojourn.documents.document import Document
from sojourn.documents.documents import Documents
from sojourn.documents.migration import MigrationStep
from sojourn.documents.model import Cause, EndReason, Info, Message, Version
from sojourn.kernel import LeaseInfo, Listing, Page
from sojourn.kernel.difference import Difference

__all__ = [
    "Cause",
    "Difference",
    "Document",
    "Documents",
    "EndReason",
    "Info",
    "LeaseInfo",
    "Listing",
    "Message",
    "MigrationStep",
    "Page",
    "Version",
]
