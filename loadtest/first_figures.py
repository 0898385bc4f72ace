"""The first figures for README: the pre-signing rate beside `openssl speed`, and CPU per request through ASGI."""
