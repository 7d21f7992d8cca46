"""The hands: execute slices, call providers, publish progress."""
