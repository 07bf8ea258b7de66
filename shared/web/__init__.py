"""What every endpoint family shares: the application, callers, bodies and queries, answers, errors, documentation."""
