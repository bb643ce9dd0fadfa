"""What outlives a request: records of several kinds, in SQLite or in Redis."""
