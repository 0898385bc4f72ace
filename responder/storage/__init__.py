"""The stores: Postgres is the authority, Redis a cache of records."""
