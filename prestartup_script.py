"""What must be in the environment before torch loads; ComfyUI runs this first.

Only what is unset is set. cuBLAS picks one of several workspaces at run time unless it is
told which (NVIDIA, cuBLAS library, results reproducibility), and reads this when the
CUDA context is made, long before a node runs.
"""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
