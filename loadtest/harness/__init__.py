"""`certstatus loadtest`: scenarios in files, asked of any responder, verified, and reported."""
