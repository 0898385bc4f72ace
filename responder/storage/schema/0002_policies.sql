-- More that an operator decides for an issuer, and the retirement of answers before their time.

ALTER TABLE issuers
    DROP CONSTRAINT issuers_nonce_check,
    ADD CONSTRAINT issuers_nonce_check CHECK (nonce IN ('optional', 'ignore', 'required')),
    DROP CONSTRAINT issuers_unknown_serial_check,
    ADD CONSTRAINT issuers_unknown_serial_check
        CHECK (unknown_serial IN ('unauthorized', 'unknown', 'revoked', 'good')),
    ADD COLUMN require_signature boolean NOT NULL DEFAULT false,
    ADD COLUMN honour_preferred boolean NOT NULL DEFAULT false,
    ADD COLUMN rsa_pss boolean NOT NULL DEFAULT false,
    ADD COLUMN baseline boolean NOT NULL DEFAULT false,
    ADD COLUMN archive boolean NOT NULL DEFAULT false,
    ADD COLUMN archive_retention_seconds integer CHECK (archive_retention_seconds > 0),
    ADD COLUMN cert_hash boolean NOT NULL DEFAULT false,
    ADD COLUMN crl_url text CHECK (octet_length(crl_url) BETWEEN 1 AND 1024),
    ADD COLUMN compromised_at timestamptz,
    -- Part of every signing profile: answers of an earlier generation are retired with their profiles.
    ADD COLUMN generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    -- The Baseline Requirements forbid certificateHold (4.9.13), which extended revoke says, and `good` for a serial
    -- that was never issued (4.9.10).
    ADD CONSTRAINT issuers_baseline_check CHECK (NOT (baseline AND unknown_serial IN ('revoked', 'good')));

-- What was signed before a compromise became known, or ceased to be assumed, must not be answered any more.
CREATE FUNCTION raise_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.generation := OLD.generation + 1;
    UPDATE signing_profiles SET retired_at = now() WHERE issuer_id = NEW.id AND retired_at IS NULL;
    UPDATE partitions SET due_at = now(), leased_by = NULL, leased_until = NULL WHERE issuer_id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER answers_retired BEFORE UPDATE ON issuers
    FOR EACH ROW WHEN (OLD.compromised_at IS DISTINCT FROM NEW.compromised_at) EXECUTE FUNCTION raise_generation();
ALTER TABLE issuers ENABLE ALWAYS TRIGGER answers_retired;
