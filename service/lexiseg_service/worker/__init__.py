"""The worker: owns a model and a device; decodes, computes, renders. The only part that loads a model."""
