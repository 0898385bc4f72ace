-- Closing a batch of changes looks up the certificates of the batch, and not every change that is open.
CREATE INDEX outbox_open_by_certificate ON outbox (issuer_id, serial) WHERE closed_at IS NULL;
