"""Processes, sockets and shared memory of one host. Nothing in here knows what a certificate is."""
