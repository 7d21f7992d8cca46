"""What each kind of run does, in one table."""
