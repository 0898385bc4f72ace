-- What the schedule of CRLs needs to know without reading them, and from when on an issuer has any.

-- Fifty megabytes aren't hashed again by each process that serves them.
ALTER TABLE crls ADD COLUMN sha256 bytea GENERATED ALWAYS AS (sha256(der)) STORED;

-- Null until the first import, or until the operator says that publishing may begin: the first CRL of a CA that had
-- another responder before must not be an empty one.
ALTER TABLE issuers ADD COLUMN crls_started_at timestamptz;
UPDATE issuers SET crls_started_at = now();

-- What a CRL hasn't seen is found by the transactions its snapshot didn't see.
CREATE INDEX outbox_unseen ON outbox (issuer_id, transaction_id) WHERE kind <> 'issued';

-- What fails for one issuer and not for the others, as the processes that meet it tell.
CREATE TABLE troubles (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    task text NOT NULL,
    host text NOT NULL,
    error text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer_id, task, host)
);

-- Uncompressed, so that a part of a CRL is read without the rest.
ALTER TABLE crls ALTER COLUMN der SET STORAGE EXTERNAL;
