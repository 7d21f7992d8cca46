"""Pure rules: the standard library and msgspec, no I/O."""
