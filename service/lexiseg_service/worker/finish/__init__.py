"""The last stage: an answer from features and a question, and who may make it now."""
