"""What an import does, as statements: which rows of a list change which certificates, by the rules of a revocation; and
how they are taken back."""

from __future__ import annotations

TABLE = """
CREATE TEMP TABLE listed (
    serial bytea NOT NULL, line integer, revoked boolean, revoked_at timestamptz, reason smallint,
    invalidity_date timestamptz, not_before timestamptz, not_after timestamptz
) ON COMMIT DROP
"""

# Made when all is there, and sorted once: a million serials that come in any order cost an index three times as much.
INDEX = "ALTER TABLE listed ADD PRIMARY KEY (serial)"

# What becomes of each certificate that is known already. Reasons: 1 keyCompromise, 6 certificateHold. The rules are
# those of `ocsp.revoke.decide`; what they forbid is kept as it is and told.
DECIDE = """
CREATE TEMP TABLE decided ON COMMIT DROP AS
SELECT l.serial, l.line, verdict, l.revoked AS list_revoked, l.revoked_at AS list_revoked_at, l.reason AS list_reason,
    l.invalidity_date AS list_invalidity_date,
    CASE WHEN verdict IN ('revoke', 'update') THEN true ELSE c.revoked END AS revoked,
    CASE WHEN verdict = 'revoke' THEN l.revoked_at WHEN verdict = 'update' THEN least(l.revoked_at, c.revoked_at)
        ELSE c.revoked_at END AS revoked_at,
    CASE WHEN verdict = 'revoke' OR verdict = 'update' AND l.reason IS DISTINCT FROM nullif(c.reason, 0) THEN l.reason
        ELSE c.reason END AS reason,
    CASE WHEN verdict = 'revoke' THEN l.invalidity_date
        WHEN verdict = 'update' THEN least(l.invalidity_date, c.invalidity_date)
        ELSE c.invalidity_date END AS invalidity_date,
    coalesce(l.not_before, c.not_before) AS not_before, coalesce(l.not_after, c.not_after) AS not_after,
    verdict = 'update' AND (l.revoked_at > c.revoked_at OR l.invalidity_date > c.invalidity_date) AS is_later,
    c.revoked AS was_revoked, c.revoked_at AS was_revoked_at, c.reason AS was_reason,
    c.invalidity_date AS was_invalidity_date, c.not_before AS was_not_before, c.not_after AS was_not_after,
    c.released_at AS was_released_at
FROM listed l JOIN certificates c ON c.issuer_id = $1 AND c.serial = l.serial
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN NOT l.revoked AND c.revoked THEN 'kept_revoked'
        WHEN NOT l.revoked THEN 'good'
        WHEN NOT c.revoked AND l.reason = 6 AND c.released_at >= l.revoked_at THEN 'kept_released'
        WHEN NOT c.revoked THEN 'revoke'
        WHEN coalesce(l.reason, 0) NOT IN (1, coalesce(c.reason, 0)) AND c.reason IS DISTINCT FROM 6 THEN 'kept_reason'
        ELSE 'update'
    END AS verdict
) AS v
"""

IS_CHANGED = """
(d.revoked, d.revoked_at, d.reason, d.invalidity_date, d.not_before, d.not_after) IS DISTINCT FROM
(d.was_revoked, d.was_revoked_at, d.was_reason, d.was_invalidity_date, d.was_not_before, d.was_not_after)
"""

COUNT = f"""
SELECT (SELECT count(*) FROM listed) AS listed,
    (SELECT count(*) FROM certificates WHERE issuer_id = $1) AS known,
    count(*) AS both,
    count(*) FILTER (WHERE verdict = 'revoke') AS newly_revoked,
    count(*) FILTER (WHERE verdict <> 'revoke' AND {IS_CHANGED}) AS changed,
    count(*) FILTER (WHERE verdict = 'kept_revoked') AS kept_revoked,
    count(*) FILTER (WHERE verdict = 'kept_reason') AS kept_reason,
    count(*) FILTER (WHERE verdict = 'kept_released') AS kept_released,
    count(*) FILTER (WHERE is_later) AS kept_date
FROM decided d
"""

CONFLICTS = """
SELECT *, CASE WHEN is_later THEN 'kept_date' ELSE verdict END AS kind FROM decided
WHERE verdict IN ('kept_revoked', 'kept_reason', 'kept_released') OR is_later ORDER BY line, serial LIMIT $1
"""

UPDATE = f"""
WITH changed AS (
    UPDATE certificates c SET revoked = d.revoked, revoked_at = d.revoked_at, reason = d.reason,
        invalidity_date = d.invalidity_date, not_before = d.not_before, not_after = d.not_after
    FROM decided d WHERE c.issuer_id = $1 AND c.serial = d.serial AND {IS_CHANGED}
    RETURNING c.serial, c.number
)
INSERT INTO import_changes (import_id, serial, number, before)
SELECT $2, d.serial, changed.number, jsonb_build_object(
    'revoked', d.was_revoked, 'revoked_at', d.was_revoked_at, 'reason', d.was_reason,
    'invalidity_date', d.was_invalidity_date, 'not_before', d.was_not_before, 'not_after', d.was_not_after,
    'released_at', d.was_released_at
) FROM changed JOIN decided d USING (serial)
"""

# The numbers are taken as the rows are inserted, after the sort: PostgreSQL leaves a volatile function for last.
INSERT = """
WITH added AS (
    INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason, invalidity_date, not_before, not_after,
        epoch, number)
    SELECT $1, serial, revoked, revoked_at, reason, invalidity_date, not_before, not_after,
        (SELECT epoch FROM installation), nextval('status_numbers') FROM listed
    WHERE NOT EXISTS (SELECT FROM decided d WHERE d.serial = listed.serial) ORDER BY serial
    RETURNING serial, number
)
INSERT INTO import_additions (import_id, serials, numbers)
SELECT $2, array_agg(serial), array_agg(number) FROM (SELECT *, row_number() OVER () / 1000 AS part FROM added) AS parts
GROUP BY part
"""

# A serial of 8 octets or more is never by chance another CA's as well.
FOREIGN = """
SELECT c.issuer_id, count(*) AS count FROM listed l JOIN certificates c USING (serial)
WHERE c.issuer_id <> $1 AND octet_length(l.serial) >= 8
    AND NOT EXISTS (SELECT FROM certificates own WHERE own.issuer_id = $1 AND own.serial = l.serial)
GROUP BY c.issuer_id ORDER BY 2 DESC LIMIT 1
"""

# The number tells whether anything has changed a row since.
CHANGED_SINCE = """
SELECT i.serial FROM changed_by_import i LEFT JOIN certificates c ON c.issuer_id = $1 AND c.serial = i.serial
WHERE i.import_id = $2 AND c.number IS DISTINCT FROM i.number ORDER BY i.serial LIMIT 11
"""

TAKE_BACK = """
UPDATE certificates c SET revoked = b.revoked, revoked_at = b.revoked_at, reason = b.reason,
    invalidity_date = b.invalidity_date, not_before = b.not_before, not_after = b.not_after
FROM changed_by_import i, jsonb_to_record(i.before) AS b (
    revoked boolean, revoked_at timestamptz, reason smallint, invalidity_date timestamptz, not_before timestamptz,
    not_after timestamptz
)
WHERE i.import_id = $2 AND i.before IS NOT NULL AND c.issuer_id = $1 AND c.serial = i.serial
"""

# What was released before the import is so again; the first statement has made it look released by the undoing.
RELEASED_BEFORE = """
UPDATE certificates c SET released_at = (i.before ->> 'released_at')::timestamptz
FROM changed_by_import i
WHERE i.import_id = $2 AND i.before IS NOT NULL AND c.issuer_id = $1 AND c.serial = i.serial
    AND c.released_at IS DISTINCT FROM (i.before ->> 'released_at')::timestamptz
"""

REMOVE = """
DELETE FROM certificates c USING changed_by_import i
WHERE i.import_id = $2 AND i.before IS NULL AND c.issuer_id = $1 AND c.serial = i.serial
"""

GOOD_AGAIN = """
SELECT count(*) FROM changed_by_import i JOIN certificates c ON c.issuer_id = $1 AND c.serial = i.serial
WHERE i.import_id = $2 AND c.revoked AND NOT (i.before ->> 'revoked')::boolean
"""
