"""A1111's infotext: the words and settings that other tools read under `parameters`.

It is an export, never the source of truth, because the grammar cannot carry everything:

- A line of the positive words that begins with `Negative prompt:` starts the negative
  ones, and a carriage return before a line feed is lost. A1111 also trims every line.
  Civitai cuts the words at every `Negative prompt:`, drops empty lines, and takes the
  first line that begins with `Steps: ` for the details.
- Several texts of one conditioning become one.
- A `_gpu` sampler gets the name of the other one. Equal names in two programs do not
  promise equal noise or sigmas either.
- A name with a quotation mark, a backslash or a control character cannot be quoted for
  Civitai, which knows no escapes, and is left out; so is one with a blank at an end.
"""

from __future__ import annotations

from .reading import Infotext, parse_infotext
from .writing import autov2, dump_infotext

__all__ = ["Infotext", "autov2", "dump_infotext", "parse_infotext"]
