"""What segments the pictures of a batch: workers behind a gateway, the model of this process, actors of Ray."""
