"""The errors of this library.

```
ProvenanceError
├── RecordError          the record is not what its schema says
│   ├── LimitError       larger or deeper than we agree to read
│   └── NoRecordError    there is none, or none that this version can read
├── CanonicalError       a value has no canonical form
├── ContainerError       the image file cannot carry or yield a payload
├── GraphError           dangling link, cycle, or not a prompt at all
├── PolicyError          the graph may not run here
├── SeedError            not an integer from 0 to 2^64-1
└── DeterminismError     it cannot run as Deterministic Mode was asked to
```

A public function raises these, `OSError`, or `TypeError` and `ValueError` for a
caller's mistake; nothing else, whatever the bytes. A comparison that fails is a
verdict, not an exception.
"""

from __future__ import annotations


class ProvenanceError(Exception):
    """The root of every error this library raises on purpose."""


class RecordError(ProvenanceError):
    """The record is not what its schema says."""


class LimitError(RecordError):
    """The input is larger or deeper than `limits` allows."""


class NoRecordError(RecordError):
    """There is no record, or the file says why there is none that this version can read."""


class CanonicalError(ProvenanceError):
    """The value has no canonical form."""


class ContainerError(ProvenanceError):
    """The image file cannot carry or yield a payload."""


class GraphError(ProvenanceError):
    """The prompt has a dangling link or a cycle, or is not a prompt."""


class PolicyError(ProvenanceError):
    """The graph may not run on this server, or cannot."""


class SeedError(ProvenanceError):
    """The value is not a seed: an integer from 0 to 2^64-1."""


class DeterminismError(ProvenanceError):
    """It cannot run as Deterministic Mode was asked to; the message says what to change."""
