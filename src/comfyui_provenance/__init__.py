"""Records of how an image was generated, and checks against them.

The library behind the ComfyUI pack of the same name. It reads and judges without
ComfyUI and without torch:

```python
from comfyui_provenance.containers import extract
from comfyui_provenance.record import KEYWORD, parse_record

record = parse_record(extract(data)[KEYWORD])
```
"""

__version__ = "0.1.0"
