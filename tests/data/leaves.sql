-- A ledger with every kind of leaf, its ids and times fixed: data/leaves.jsonl has what they are.
-- Nothing guards the tables when it is loaded, so some texts are such as no guard would let in.

INSERT INTO organizations (organization_id, name, created_at)
VALUES ('00000000-0000-7000-8000-000000000001', 'First', '2026-01-01Z');

INSERT INTO ledgers (organization_id, ledger_id, name, mode, metadata, created_at, last_sequence,
    last_recorded_at)
VALUES ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-00000000000a', 'main',
    'live', '{}', '2026-01-01Z', 9, '2026-02-10Z');

INSERT INTO accounts (organization_id, account_id, ledger_id, name, normal_balance, currency,
    exponent, status, floor_version, metadata, created_at, version, posted_debits, posted_credits,
    pending_debits, pending_credits)
SELECT '00000000-0000-7000-8000-000000000001', id, '00000000-0000-7000-8000-00000000000a', id,
    normal, currency, exponent, 'open', 0, '{}', '2026-01-01Z', 0, 0, 0, 0, 0
FROM (VALUES
    ('00000000-0000-7000-8000-0000000000a1'::uuid, 'debit', 'EUR', 2),
    ('00000000-0000-7000-8000-0000000000a2', 'credit', 'EUR', 2),
    ('00000000-0000-7000-8000-0000000000a3', 'credit', 'JPY', 0),
    ('00000000-0000-7000-8000-0000000000a4', 'neither', 'E"\', 2)
) a (id, normal, currency, exponent);

INSERT INTO transactions (organization_id, transaction_id, ledger_id, sequence, status, description,
    external_id, metadata, effective_at, created_at, reason, posts_at, expires_at,
    reverses_sequence)
SELECT '00000000-0000-7000-8000-000000000001',
    ('00000000-0000-7000-8000-0000000001' || to_char(sequence, 'FM00'))::uuid,
    '00000000-0000-7000-8000-00000000000a', sequence, 'posted', description, external_id,
    metadata::jsonb, effective_at::timestamptz, created_at::timestamptz, reason,
    posts_at::timestamptz, expires_at::timestamptz, reverses
FROM (VALUES
    (1, 'Benchmark', NULL, '{}', '2026-02-01 10:00:00.123456Z', '2026-02-01 10:00:00.123456Z',
        NULL, NULL, NULL, NULL::int8),
    (2, E'a "quoted" \\ text,\n\ttabbed \u0001 \u007f, für 東京 😀', 'order/2 "x"',
        '{"rate": "1.5", "a": "\"", "long": {"b": null, "aa": [1, 2]}}', '1969-12-31 23:59:59.9Z',
        '2026-02-01 10:00:01Z', NULL, NULL, NULL, NULL),
    (3, NULL, NULL, '{}', '2026-02-02Z', '2026-02-02 00:00:00.000001Z', 'reserve',
        '2026-03-01 00:00:00.5Z', '2026-04-01Z', NULL),
    (4, 'Order 8', NULL, '{"order": "8"}', '2026-02-03Z', '2026-02-03Z', NULL, NULL, NULL, NULL),
    (5, NULL, NULL, '{}', '2026-02-04Z', '2026-02-04Z', NULL, NULL, NULL, NULL),
    (6, '', NULL, '{}', '2026-02-05Z', '2026-02-05Z', NULL, NULL, NULL, NULL),
    (7, NULL, NULL, '{}', '2026-02-06Z', '2026-02-06Z', NULL, NULL, NULL, 1),
    (8, NULL, NULL, '{}', 'infinity', '0044-03-15 BC', 'of "none"', '-infinity', NULL, NULL)
) t (sequence, description, external_id, metadata, effective_at, created_at, reason, posts_at,
    expires_at, reverses);

INSERT INTO transaction_events (organization_id, ledger_id, transaction_sequence, number, kind,
    idempotency_key, fingerprint, description, recorded_at, changes)
SELECT '00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-00000000000a', sequence,
    number, kind, key, sha256(convert_to(key, 'UTF8')), description, recorded_at::timestamptz,
    changes::jsonb
FROM (VALUES
    (1, 1, 'posted', 'key 1', NULL, '2026-02-01 10:00:00.123456Z', NULL),
    (2, 1, 'posted', E'key "2"\n', NULL, '2026-02-01 10:00:01Z', NULL),
    (3, 1, 'held', 'key 3', NULL, '2026-02-02 00:00:00.000001Z', NULL),
    (3, 2, 'settled', 'key 3/2', 'a "part"', '2026-02-02 01:00:00Z', NULL),
    (3, 3, 'expired', NULL, NULL, '2026-04-01 00:00:00.25Z', NULL),
    (4, 1, 'posted', 'key 4', NULL, '2026-02-03Z', NULL),
    (4, 2, 'updated', 'key 4/2', NULL, '2026-02-03 01:00:00Z',
        '{"description": {"before": null, "after": "Order 7"}}'),
    (4, 3, 'updated', 'key 4/3', 'once more', '2026-02-03 02:00:00Z',
        '{"metadata": {"before": {"order": "7"}, "after": {"order": "8"}},
          "description": {"before": "Order 7", "after": "Order 8"}}'),
    (5, 1, 'posted', 'key 5', NULL, '2026-02-04Z', NULL),
    (6, 1, 'lot_expired', NULL, NULL, '2026-02-05Z', NULL),
    (7, 1, 'posted', 'key 7', NULL, '2026-02-06Z', NULL),
    (8, 1, 'of "none"', '', '', '2026-02-07Z', NULL)
) v (sequence, number, kind, key, description, recorded_at, changes);

INSERT INTO entries (organization_id, account_id, sequence, ledger_id, transaction_sequence,
    effective_at, recorded_at, line, event, direction, effect, amount, posted_debits,
    posted_credits, pending_debits, pending_credits, metadata)
SELECT '00000000-0000-7000-8000-000000000001',
    ('00000000-0000-7000-8000-0000000000' || account)::uuid, sequence,
    '00000000-0000-7000-8000-00000000000a', transaction_sequence, effective_at::timestamptz,
    recorded_at::timestamptz, line, event, direction, effect, amount, posted_debits,
    posted_credits, pending_debits, pending_credits, metadata::jsonb
FROM (VALUES
    (1, 'a1', 1, '2026-02-01 10:00:00.123456Z', '2026-02-01 10:00:00.123456Z', 1, 1, 'debit',
        'post', 1250, 1250, 0, 0, 0, NULL),
    (1, 'a2', 1, '2026-02-01 10:00:00.123456Z', '2026-02-01 10:00:00.123456Z', 2, 1, 'credit',
        'post', 1250, 0, 1250, 0, 0, NULL),
    (2, 'a3', 1, '1969-12-31 23:59:59.9Z', '2026-02-01 10:00:01Z', 1, 1, 'debit', 'post',
        9999999999999999999999999999999999999, 9999999999999999999999999999999999999, 0, 0, 0,
        '{"note": "a \"b\"", "k": "\\"}'),
    (2, 'a2', 2, '1969-12-31 23:59:59.9Z', '2026-02-01 10:00:01.5Z', 2, 1, 'credit', 'post',
        9999999999999999999999999999999999999, 0, 9999999999999999999999999999999999998, 0, 0,
        '{}'),
    (3, 'a2', 3, '2026-02-02Z', '2026-02-02 00:00:00.000001Z', 1, 1, 'debit', 'hold', 100, 0, 1250,
        100, 0, NULL),
    (3, 'a1', 2, '2026-02-02 12:00:00Z', '2026-02-02 00:00:00.000001Z', 2, 1, 'credit', 'hold', 100,
        1250, 0, 0, 100, NULL),
    (3, 'a2', 4, '2026-02-02Z', '2026-02-02 01:00:00Z', 3, 2, 'debit', 'settle', 40, 40, 1250, 60,
        0, NULL),
    (3, 'a1', 3, '2026-02-02Z', '2026-02-02 01:00:00Z', 4, 2, 'credit', 'settle', 40, 1250, 40, 0,
        60, NULL),
    (3, 'a2', 5, '2026-02-02Z', '2026-04-01 00:00:00.25Z', 5, 3, 'debit', 'release', 60, 40, 1250,
        0, 0, NULL),
    (3, 'a1', 4, '2026-02-02Z', '2026-04-01 00:00:00.25Z', 6, 3, 'credit', 'release', 60, 1250, 40,
        0, 0, NULL),
    (4, 'a1', 5, '2026-02-03Z', '2026-02-03Z', 1, 1, 'debit', 'post', 1, 1251, 40, 0, 0, NULL),
    (4, 'a2', 6, '2026-02-03Z', '2026-02-03Z', 2, 1, 'credit', 'post', 1, 40, 1251, 0, 0, NULL),
    (5, 'a1', 6, '2026-02-04Z', '2026-02-04Z', 1, 1, 'debit', 'post', 5, 1256, 40, 0, 0, NULL),
    (5, 'a2', 7, '2026-02-04Z', '2026-02-04Z', 2, 1, 'credit', 'post', 5, 40, 1256, 0, 0, NULL),
    (6, 'a2', 8, '2026-02-05Z', '2026-02-05Z', 1, 1, 'debit', 'post', 3, 43, 1256, 0, 0, NULL),
    (6, 'a1', 7, '2026-02-05Z', '2026-02-05Z', 2, 1, 'credit', 'post', 3, 1256, 43, 0, 0, NULL),
    (7, 'a2', 9, '2026-02-06Z', '2026-02-06Z', 1, 1, 'debit', 'post', 1250, 1293, 1256, 0, 0, NULL),
    (7, 'a1', 8, '2026-02-06Z', '2026-02-06Z', 2, 1, 'credit', 'post', 1250, 1256, 1293, 0, 0,
        NULL),
    (8, 'a4', 1, '-infinity', 'infinity', 1, 1, 'de"bit', E'po\\st', 1, -1, 0, 0, 0, NULL)
) e (transaction_sequence, account, sequence, effective_at, recorded_at, line, event, direction,
    effect, amount, posted_debits, posted_credits, pending_debits, pending_credits, metadata);

INSERT INTO credit_lots (organization_id, lot_id, account_id, number, ledger_id,
    transaction_sequence, code, amount, remaining, expired, expires_at, breakage_account_id)
SELECT '00000000-0000-7000-8000-000000000001',
    ('00000000-0000-7000-8000-0000000000' || lot)::uuid, '00000000-0000-7000-8000-0000000000a2',
    number, '00000000-0000-7000-8000-00000000000a', transaction_sequence, code, amount, amount, 0,
    expires_at::timestamptz, '00000000-0000-7000-8000-0000000000a1'
FROM (VALUES
    ('c1', 6, 4, NULL, 1, '2100-01-01 00:00:00.75Z'),
    ('c2', 7, 5, 'gift "5"', 5, '2100-01-01Z')
) c (lot, number, transaction_sequence, code, amount, expires_at);

INSERT INTO lot_movements (organization_id, lot_id, account_id, sequence, kind, amount)
SELECT '00000000-0000-7000-8000-000000000001',
    ('00000000-0000-7000-8000-0000000000' || lot)::uuid, '00000000-0000-7000-8000-0000000000a2', 8,
    kind, amount
FROM (VALUES ('c2', 'expired', 2), ('c1', 'of "none"', 1)) m (lot, kind, amount);

INSERT INTO template_uses (organization_id, ledger_id, transaction_sequence, code, version, params)
VALUES ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-00000000000a', 7,
    'sale "7"', 3, '{"amount": "12.50", "z": "\"", "aa": "1"}');
