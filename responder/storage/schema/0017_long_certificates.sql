-- A responder certificate with an ML-DSA key has up to 8 kB, and a row of an index at most 2,704 octets.
ALTER TABLE responder_certificates
    ADD COLUMN certificate_sha256 bytea NOT NULL GENERATED ALWAYS AS (sha256(certificate)) STORED;
ALTER TABLE responder_certificates DROP CONSTRAINT responder_certificates_pkey;
ALTER TABLE responder_certificates ADD PRIMARY KEY (issuer_id, certificate_sha256);
