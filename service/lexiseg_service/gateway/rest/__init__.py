"""The gateway over HTTP: routes, bodies, problems, documentation."""
