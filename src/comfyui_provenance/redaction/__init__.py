"""Redaction: secrets, and what is private, taken out of what leaves the machine.

`redact_prompt` finds the secrets of a prompt, `redact_value` takes them out of whatever else is
written beside it, and `redact_record` makes a record fit to be shown. What can be told from
neither name nor shape is not found: a password in the words of a prompt.
"""

from __future__ import annotations

from .records import redact_record
from .search import Redacted, is_redacted, redact_prompt, redact_value, redacted_inputs
from .shapes import MARK, is_secret_name

__all__ = [
    "MARK",
    "Redacted",
    "is_redacted",
    "is_secret_name",
    "redact_prompt",
    "redact_record",
    "redact_value",
    "redacted_inputs",
]
