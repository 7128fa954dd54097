"""The only folder that touches ComfyUI's internals.

It turns what ComfyUI has (tensors, patchers, folders, the running prompt) into the
core's values and back. No function or class of the host is replaced: model behaviour
changes only through wrappers on a cloned ModelPatcher.
"""
