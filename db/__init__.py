"""The floor: the only code that speaks to Postgres and Redis."""
