"""The nodes that ComfyUI shows: a schema and a few lines each."""
