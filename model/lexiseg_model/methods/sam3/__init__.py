"""SAM 3 from weights that the user provides: texts find instances, and classes compete for pixels."""
