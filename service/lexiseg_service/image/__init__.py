"""An image before it is decoded: what its head says, the id it is known by, and how it is fetched by URL."""
