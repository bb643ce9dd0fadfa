"""The parts of a request: options, prompts, named class lists."""
