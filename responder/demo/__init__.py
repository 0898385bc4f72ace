"""`certstatus demo`: everything on one host with a throw-away CA, real servers included."""
