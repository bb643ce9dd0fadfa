"""Who attacks a service, and who asks for little meanwhile."""
