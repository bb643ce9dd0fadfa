"""Video streams in the worker: their frames through the engine, their state, their order."""
