"""HTTP handlers: check the size, parse, call, answer."""
