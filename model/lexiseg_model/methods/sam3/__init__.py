"""SAM 3 by its own weights, which a user has and this project has not: words find instances, and compete for pixels."""
