"""What needs torch: pinning and reading the flags that decide the bits."""
