"""Many images judged by themselves: each file's record, graph, tuple and pixels, over all cores.

`find_images` lists them, `audit_files` judges them in that order, whatever the scheduling,
`Tally` sums up, and `write_page` shows it all in one HTML file.
"""

from .finding import find_images
from .judging import Audited, State, audit_file
from .page import write_page
from .running import audit_files
from .spool import Spool
from .tally import Tally

__all__ = [
    "Audited",
    "Spool",
    "State",
    "Tally",
    "audit_file",
    "audit_files",
    "find_images",
    "write_page",
]
