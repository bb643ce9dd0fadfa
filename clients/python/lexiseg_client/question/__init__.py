"""What is asked: options, prompts, named class lists."""
