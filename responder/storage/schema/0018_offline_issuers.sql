-- Issuers whose answers are made elsewhere, with a key that isn't here: nothing is signed, what was imported is given.

ALTER TABLE issuers
    ADD COLUMN offline boolean NOT NULL DEFAULT false,
    -- A nonce, and an answer for a serial that was never seen, would have to be signed.
    ADD CONSTRAINT offline_signs_nothing
        CHECK (NOT offline OR (nonce = 'ignore' AND unknown_serial = 'unauthorized'));

-- The status of a certificate stays in `certificates`: an answer that says another isn't given.
CREATE TABLE imported_answers (
    issuer_id text NOT NULL REFERENCES issuers ON DELETE CASCADE,
    serial bytea NOT NULL,
    variant smallint NOT NULL CHECK (variant BETWEEN 1 AND 4),  -- the hash of its CertID
    profile_id bytea NOT NULL REFERENCES signing_profiles ON DELETE CASCADE,
    revoked_at timestamptz,                                     -- null in an answer that says good
    reason smallint,
    this_update timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    response bytea NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer_id, serial, variant)
);

DROP TRIGGER answers_due ON issuers;
CREATE TRIGGER answers_due AFTER UPDATE ON issuers FOR EACH ROW WHEN (
    (OLD.offline, OLD.responder_id_by_name, OLD.rsa_pss, OLD.archive, OLD.archive_retention_seconds, OLD.cert_hash,
        OLD.crl_url, OLD.validity_seconds, OLD.hash_algorithms, OLD.unknown_serial = 'revoked')
    IS DISTINCT FROM
    (NEW.offline, NEW.responder_id_by_name, NEW.rsa_pss, NEW.archive, NEW.archive_retention_seconds, NEW.cert_hash,
        NEW.crl_url, NEW.validity_seconds, NEW.hash_algorithms, NEW.unknown_serial = 'revoked')
) EXECUTE FUNCTION answers_are_due();
ALTER TABLE issuers ENABLE ALWAYS TRIGGER answers_due;
