-- Who may answer, until when, and which changes each of them has applied (docs/design.md, "A revocation").

CREATE TABLE hosts (
    id text PRIMARY KEY,              -- of one shared memory: another after each start
    owner text NOT NULL,              -- the process that holds it, to tell what has ended
    leased_until timestamptz NOT NULL,
    -- Changes of transactions that this snapshot sees are applied; null: none is.
    applied pg_snapshot,
    history text,                     -- the server's history that the snapshot belongs to
    since timestamptz NOT NULL DEFAULT now()
);

-- What a host hasn't seen is found by the transactions that its snapshot didn't see.
CREATE INDEX outbox_by_transaction ON outbox (transaction_id) WHERE kind <> 'issued';
