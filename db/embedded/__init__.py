"""Real PostgreSQL and Valkey from wheels, and the processes kept alive around them."""
