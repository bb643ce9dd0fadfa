"""The calls over REST."""
