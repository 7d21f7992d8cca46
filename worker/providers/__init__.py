"""One codec per wire protocol, pure: bytes in, deltas out."""
