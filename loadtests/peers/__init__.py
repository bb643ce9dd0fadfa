"""The same model behind other servers, for comparison."""
