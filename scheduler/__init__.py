"""The clock: ring what was never heard, reconcile what was lost."""
