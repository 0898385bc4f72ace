-- That a certificate was issued is kept for an hour after it was signed: hosts learn from it which serials there are
-- (docs/decisions/0018-what-was-never-issued-costs-no-look-up.md).

CREATE INDEX outbox_issued_by_transaction ON outbox (transaction_id) WHERE kind = 'issued';
CREATE INDEX outbox_issued_by_closing ON outbox (closed_at) WHERE kind = 'issued';
