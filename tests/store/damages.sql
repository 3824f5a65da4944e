-- Ways to break the books of books.py once nothing in the database guards them any more, and all
-- that `verify` must find then: name, organization/ledger, subject, each once. Every name that it
-- can give heads a damage of its own; one wrong row is often seen from several sides.

-- LEDGER_WITHOUT_ORGANIZATION
DELETE FROM organizations WHERE organization_id = :'foreign_organization';
--> LEDGER_WITHOUT_ORGANIZATION second/foreign ledger foreign

-- CURRENCY_WITHOUT_LEDGER
INSERT INTO currencies VALUES (:'foreign_organization', :'ledger', 'GBP', 2);
--> CURRENCY_WITHOUT_LEDGER second/main currency GBP

-- ACCOUNT_WITHOUT_CURRENCY
UPDATE accounts SET exponent = 3 WHERE account_id = :'bank';
--> ACCOUNT_WITHOUT_CURRENCY first/main account bank

-- ACCOUNT_ID_REPEATED
UPDATE accounts SET external_id = NULL WHERE account_id = :'other_bank';
INSERT INTO accounts SELECT * FROM accounts WHERE account_id = :'other_bank';
--> ACCOUNT_ID_REPEATED first/other account bank
--> ACCOUNT_ID_REPEATED first/other account bank

-- TRANSACTION_WITHOUT_LEDGER
DELETE FROM ledgers WHERE ledger_id = :'foreign';
--> CURRENCY_WITHOUT_LEDGER second/foreign currency EUR
--> CURRENCY_WITHOUT_LEDGER second/foreign currency USD
--> TRANSACTION_WITHOUT_LEDGER second/foreign transaction 1
--> TRANSACTION_WITHOUT_LEDGER second/foreign transaction 2

-- TRANSACTION_WITHOUT_EVENT
DELETE FROM transaction_events WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> STATUS_TIME_WRONG first/main transaction 9
--> TRANSACTION_WITHOUT_EVENT first/main transaction 9
--> ENTRY_WITHOUT_EVENT first/main line 9/1
--> ENTRY_WITHOUT_EVENT first/main line 9/2

-- TRANSACTION_ENTRIES_TOO_FEW
DELETE FROM entries WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
UPDATE accounts a
    SET version = e.sequence, posted_debits = e.posted_debits, posted_credits = e.posted_credits
    FROM entries e
    WHERE a.account_id = e.account_id AND a.account_id IN (:'wallet', :'cash') AND e.sequence = 17;
--> TRANSACTION_ENTRIES_TOO_FEW first/main transaction 9
--> EVENT_ENTRIES_TOO_FEW first/main event 9/1

-- TRANSACTION_ID_REPEATED
UPDATE transactions SET transaction_id = :'organization'
    WHERE ledger_id = :'ledger' AND sequence IN (1, 9);
--> TRANSACTION_ID_REPEATED first/main transaction 1
--> TRANSACTION_ID_REPEATED first/main transaction 9

-- TERMS_WITHOUT_HOLD
UPDATE transactions SET expires_at = '2100-01-01' WHERE ledger_id = :'ledger' AND sequence = 9;
--> TERMS_WITHOUT_HOLD first/main event 9/1

-- EVENT_WITHOUT_TRANSACTION
INSERT INTO transaction_events
    SELECT organization_id, ledger_id, 99, 1, kind, 'another', fingerprint, description,
        recorded_at
    FROM transaction_events
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> EVENT_ENTRIES_TOO_FEW first/main event 99/1
--> EVENT_WITHOUT_TRANSACTION first/main event 99/1

-- EVENT_NUMBERS_BROKEN
UPDATE transaction_events SET number = 3
    WHERE ledger_id = :'ledger' AND transaction_sequence = 3 AND number = 2;
UPDATE entries SET event = 3
    WHERE ledger_id = :'ledger' AND transaction_sequence = 3 AND event = 2;
--> EVENT_NUMBERS_BROKEN first/main event 3/3

-- EVENT_ENTRIES_TOO_FEW
INSERT INTO transaction_events
    SELECT organization_id, ledger_id, 8, 2, 'settled', 'another', fingerprint, description,
        recorded_at
    FROM transaction_events
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> EVENT_ENTRIES_TOO_FEW first/main event 8/2

-- ENTRY_WITHOUT_ACCOUNT
UPDATE accounts SET ledger_id = :'other' WHERE account_id = :'bank';
--> POSTED_UNBALANCED first/other currency USD
--> POSTED_UNBALANCED first/main currency USD
--> ACCOUNT_EXTERNAL_ID_REPEATED first/other account bank
--> ACCOUNT_EXTERNAL_ID_REPEATED first/other account bank
--> ENTRY_WITHOUT_ACCOUNT first/main entry bank/1

-- ENTRY_WITHOUT_TRANSACTION
DELETE FROM transactions WHERE ledger_id = :'ledger' AND sequence = 9;
UPDATE ledgers SET last_sequence = 8 WHERE ledger_id = :'ledger';
--> EVENT_WITHOUT_TRANSACTION first/main event 9/1
--> ENTRY_WITHOUT_TRANSACTION first/main line 9/1
--> ENTRY_WITHOUT_TRANSACTION first/main line 9/2

-- ENTRY_WITHOUT_EVENT
DELETE FROM transaction_events
    WHERE ledger_id = :'ledger' AND transaction_sequence = 7 AND number = 2;
--> EVENT_NUMBERS_BROKEN first/main event 7/3
--> ENTRY_WITHOUT_EVENT first/main line 7/3
--> ENTRY_WITHOUT_EVENT first/main line 7/4

-- LINES_BROKEN
UPDATE entries SET line = 3
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9 AND line = 2;
--> LINES_BROKEN first/main line 9/3

-- EFFECTIVE_TIME_NOT_OF_TRANSACTION
UPDATE transactions SET effective_at = '2020-01-01'
    WHERE ledger_id = :'ledger' AND sequence = 9;
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/main line 9/1
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/main line 9/2

-- ENTRIES_UNBALANCED
UPDATE entries SET amount = 31, posted_debits = 31 WHERE account_id = :'bank';
UPDATE accounts SET posted_debits = 31 WHERE account_id = :'bank';
--> POSTED_UNBALANCED first/main currency USD
--> ENTRIES_UNBALANCED first/main event 2/1

-- POSTED_UNBALANCED
UPDATE accounts SET posted_credits = posted_credits + 1 WHERE account_id = :'wallet';
--> POSTED_UNBALANCED first/main currency EUR
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account wallet
--> BALANCES_AFTER_NOT_OF_ACCOUNT first/main entry wallet/18

-- PENDING_UNBALANCED
UPDATE accounts SET pending_debits = pending_debits - 1 WHERE account_id = :'wallet';
--> PENDING_UNBALANCED first/main currency EUR
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account wallet
--> BALANCES_AFTER_NOT_OF_ACCOUNT first/main entry wallet/18

-- CURRENCY_REPEATED
INSERT INTO currencies VALUES (:'organization', :'ledger', 'USD', 3);
--> CURRENCY_REPEATED first/main currency USD
--> CURRENCY_REPEATED first/main currency USD

-- ACCOUNT_MALFORMED
UPDATE accounts SET normal_balance = 'both' WHERE account_id = :'bank';
--> ACCOUNT_MALFORMED first/main account bank

-- ACCOUNT_VERSION_WRONG
UPDATE accounts SET version = 19 WHERE account_id = :'wallet';
--> ACCOUNT_VERSION_WRONG first/main account wallet

-- BALANCES_AFTER_NOT_OF_ACCOUNT
UPDATE entries SET posted_debits = 31 WHERE account_id = :'bank';
--> BALANCES_AFTER_BROKEN first/main entry bank/1
--> BALANCES_AFTER_NOT_OF_ACCOUNT first/main entry bank/1

-- ACCOUNT_TOTALS_NOT_OF_ENTRIES
UPDATE entries SET amount = 31 WHERE account_id IN (:'bank', :'dollars');
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account dollars
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account bank
--> BALANCES_AFTER_BROKEN first/main entry dollars/1
--> BALANCES_AFTER_BROKEN first/main entry bank/1

-- ENTRY_MALFORMED
UPDATE accounts SET posted_debits = 0, posted_credits = 0
    WHERE account_id IN (:'bank', :'dollars');
UPDATE entries SET amount = 0, posted_debits = 0, posted_credits = 0
    WHERE account_id IN (:'bank', :'dollars');
--> ENTRY_MALFORMED first/main entry dollars/1
--> ENTRY_MALFORMED first/main entry bank/1

-- ENTRY_SEQUENCES_BROKEN
UPDATE entries SET sequence = 19 WHERE account_id = :'wallet' AND sequence = 18;
UPDATE accounts SET version = 19 WHERE account_id = :'wallet';
--> ENTRY_SEQUENCES_BROKEN first/main entry wallet/19

-- BALANCES_AFTER_BROKEN
UPDATE entries SET posted_debits = posted_debits + 1
    WHERE account_id = :'wallet' AND sequence = 5;
--> BALANCES_AFTER_BROKEN first/main entry wallet/5
--> BALANCES_AFTER_BROKEN first/main entry wallet/6

-- LAST_SEQUENCE_WRONG
UPDATE ledgers SET last_sequence = 10 WHERE ledger_id = :'ledger';
--> LAST_SEQUENCE_WRONG first/main ledger main

-- LAST_RECORDED_AT_WRONG
UPDATE ledgers SET last_recorded_at = last_recorded_at - interval '1 microsecond'
    WHERE ledger_id = :'ledger';
--> LAST_RECORDED_AT_WRONG first/main ledger main

-- TRANSACTION_SEQUENCES_BROKEN
UPDATE transactions SET sequence = 10 WHERE ledger_id = :'ledger' AND sequence = 9;
UPDATE transaction_events SET transaction_sequence = 10
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
UPDATE entries SET transaction_sequence = 10
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
UPDATE ledgers SET last_sequence = 10 WHERE ledger_id = :'ledger';
--> TRANSACTION_SEQUENCES_BROKEN first/main transaction 10

-- CREATED_AT_DECREASES
UPDATE transactions SET created_at = created_at - interval '1 hour'
    WHERE ledger_id = :'ledger' AND sequence = 8;
--> CREATED_AT_DECREASES first/main transaction 8
--> CREATED_AT_NOT_OF_EVENT first/main event 8/1

-- CREATED_AT_NOT_OF_EVENT
UPDATE transactions SET created_at = created_at + interval '1 hour'
    WHERE ledger_id = :'ledger' AND sequence = 9;
--> CREATED_AT_NOT_OF_EVENT first/main event 9/1

-- EVENT_TIME_DECREASES
UPDATE transaction_events SET recorded_at = recorded_at - interval '1 hour'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 3 AND number = 2;
--> EVENT_TIME_DECREASES first/main event 3/2
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/main line 3/3
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/main line 3/4
--> ENTRY_TIME_NOT_OF_EVENT first/main line 3/3
--> ENTRY_TIME_NOT_OF_EVENT first/main line 3/4

-- ENTRY_TIME_DECREASES
UPDATE entries SET recorded_at = recorded_at - interval '1 hour'
    WHERE account_id = :'wallet' AND sequence = 18;
--> ENTRY_TIME_NOT_OF_EVENT first/main line 9/1
--> ENTRY_TIME_DECREASES first/main entry wallet/18

-- ENTRY_TIME_NOT_OF_EVENT
UPDATE entries SET recorded_at = recorded_at + interval '1 hour'
    WHERE account_id = :'wallet' AND sequence = 18;
--> ENTRY_TIME_NOT_OF_EVENT first/main line 9/1

-- ACCOUNT_EXTERNAL_ID_REPEATED
UPDATE accounts SET external_id = 'account 1' WHERE account_id = :'wallet';
--> ACCOUNT_EXTERNAL_ID_REPEATED first/main account wallet
--> ACCOUNT_EXTERNAL_ID_REPEATED first/main account cash

-- TRANSACTION_EXTERNAL_ID_REPEATED
UPDATE transactions SET external_id = 'order 1' WHERE ledger_id = :'ledger' AND sequence = 9;
--> TRANSACTION_EXTERNAL_ID_REPEATED first/main transaction 1
--> TRANSACTION_EXTERNAL_ID_REPEATED first/main transaction 9

-- IDEMPOTENCY_KEY_REPEATED
UPDATE transaction_events SET idempotency_key = 'sale'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> IDEMPOTENCY_KEY_REPEATED first/main event 1/1
--> IDEMPOTENCY_KEY_REPEATED first/main event 9/1

-- EVENT_KIND_WRONG
UPDATE transaction_events SET kind = 'voided'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> EVENT_EFFECTS_WRONG first/main event 9/1
--> EVENT_KIND_WRONG first/main event 9/1

-- EVENT_AFTER_END
INSERT INTO transaction_events
    SELECT organization_id, ledger_id, 5, 3, 'settled', 'another', fingerprint, description,
        recorded_at
    FROM transaction_events
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> STATUS_TIME_WRONG first/main transaction 5
--> EVENT_AFTER_END first/main event 5/3
--> EVENT_ENTRIES_TOO_FEW first/main event 5/3

-- EVENT_EFFECTS_WRONG
UPDATE transaction_events SET kind = 'posted'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 8;
--> EVENT_EFFECTS_WRONG first/main event 8/1

-- HOLD_EXCEEDED
UPDATE entries SET amount = 99
    WHERE ledger_id = :'ledger' AND transaction_sequence = 4 AND effect = 'hold';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account wallet
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account cash
--> STATUS_WRONG first/main transaction 4
--> HOLD_EXCEEDED first/main transaction 4
--> HOLD_EXCEEDED first/main transaction 4
--> BALANCES_AFTER_BROKEN first/main entry wallet/4
--> BALANCES_AFTER_BROKEN first/main entry cash/4

-- STATUS_WRONG
UPDATE transactions SET status = 'posted', posted_at = created_at
    WHERE ledger_id = :'ledger' AND sequence = 8;
--> STATUS_WRONG first/main transaction 8

-- STATUS_TIME_WRONG
UPDATE transactions SET posted_at = NULL WHERE ledger_id = :'ledger' AND sequence = 9;
--> STATUS_TIME_WRONG first/main transaction 9

-- VOID_INCOMPLETE
UPDATE transaction_events SET kind = 'voided'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 3 AND number = 2;
--> VOID_INCOMPLETE first/main transaction 3
--> EVENT_EFFECTS_WRONG first/main event 3/2

-- AVAILABLE_BELOW_FLOOR
UPDATE accounts SET available_floor = 1, floor_version = 18 WHERE account_id = :'wallet';
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/18

-- BALANCE_ABOVE_CEILING
UPDATE accounts SET balance_ceiling = 1019, ceiling_version = 4 WHERE account_id = :'wallet';
--> BALANCE_ABOVE_CEILING first/main entry wallet/4

-- ENTRY_ABOVE_MAXIMUM
UPDATE accounts SET entry_maximum = 389, maximum_version = 1 WHERE account_id = :'wallet';
--> ENTRY_ABOVE_MAXIMUM first/main entry wallet/18

-- VELOCITY_LIMITED_WRONG
UPDATE accounts SET velocity_limited = true WHERE account_id = :'wallet';
--> VELOCITY_LIMITED_WRONG first/main account wallet

-- VELOCITY_LIMIT_WITHOUT_ACCOUNT
INSERT INTO velocity_limits VALUES (:'foreign_organization', :'wallet', 'daily', 1, NULL, NULL,
    'day', 'UTC', now(), 0, 0, 0);
--> VELOCITY_LIMIT_WITHOUT_ACCOUNT second/None velocity limit daily of account wallet

-- VELOCITY_LIMIT_REPEATED
UPDATE accounts SET velocity_limited = true WHERE account_id = :'bank';
INSERT INTO velocity_limits SELECT :'organization', :'bank', 'hourly', NULL, 1, 3600, NULL, NULL,
    now(), 1, 0, 0 FROM generate_series(1, 2);
--> VELOCITY_LIMIT_REPEATED first/main velocity limit hourly of account bank
--> VELOCITY_LIMIT_REPEATED first/main velocity limit hourly of account bank

-- VELOCITY_USAGE_WRONG
UPDATE accounts SET velocity_limited = true WHERE account_id = :'wallet';
INSERT INTO velocity_limits SELECT :'organization', :'wallet', name, 1000, NULL, NULL, 'month',
    'UTC', moment, 0, amount, count
FROM (VALUES
    ('right', '-infinity'::timestamptz, 1020, 6), ('too much', '-infinity', 1021, 6),
    ('too often', '-infinity', 1020, 7), ('too old', 'infinity', 1020, 6), ('new', 'infinity', 0, 0)
) AS v (name, moment, amount, count);
--> VELOCITY_USAGE_WRONG first/main velocity limit too much of account wallet
--> VELOCITY_USAGE_WRONG first/main velocity limit too often of account wallet
--> VELOCITY_USAGE_WRONG first/main velocity limit too old of account wallet

-- EVENT_KEY_WRONG
UPDATE transaction_events SET idempotency_key = 'key'
    WHERE ledger_id = :'life' AND transaction_sequence = 2 AND number = 2;
--> EVENT_KEY_WRONG first/life event 2/2

-- SETTLED_AFTER_EXPIRY
UPDATE transactions SET expires_at = posts_at + interval '1 second', due_attempts = 1,
        refusal_code = 'ACCOUNT_NOT_OPEN', refusal_message = 'It was frozen.',
        refused_at = posts_at - interval '1 second'
    WHERE ledger_id = :'life' AND sequence = 3;
--> SETTLED_AFTER_EXPIRY first/life event 3/2

-- DONE_BEFORE_IT_WAS_DUE
UPDATE transactions SET posts_at = '2100-01-01' WHERE ledger_id = :'life' AND sequence = 3;
--> DONE_BEFORE_IT_WAS_DUE first/life event 3/2
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/life line 3/3
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/life line 3/4

-- DUE_THOUGH_DONE
UPDATE transactions SET due_at = expires_at WHERE ledger_id = :'life' AND sequence = 2;
--> DUE_THOUGH_DONE first/life transaction 2

-- NEVER_DUE
UPDATE transactions SET due_at = NULL WHERE ledger_id = :'life' AND sequence = 4;
--> NEVER_DUE first/life transaction 4

-- REVERSAL_OF_WHAT_CANNOT_BE
UPDATE transactions SET reverses_sequence = 2 WHERE ledger_id = :'life' AND sequence = 6;
--> REVERSAL_OF_WHAT_CANNOT_BE first/life transaction 6
--> REVERSED_BEYOND_AMOUNT first/life transaction 2
--> REVERSED_BEYOND_AMOUNT first/life transaction 2

-- REVERSED_BEYOND_AMOUNT
UPDATE transactions SET reverses_sequence = 3 WHERE ledger_id = :'life' AND sequence = 5;
--> REVERSED_BEYOND_AMOUNT first/life transaction 3
--> REVERSED_BEYOND_AMOUNT first/life transaction 3

-- CORRECTION_NOT_KEPT
UPDATE transactions SET description = 'Order 9' WHERE ledger_id = :'life' AND sequence = 1;
--> CORRECTION_NOT_KEPT first/life event 1/3

-- CORRECTIONS_BROKEN
UPDATE transaction_events SET changes = jsonb_set(changes, '{description,before}', '"Order 6"')
    WHERE ledger_id = :'life' AND transaction_sequence = 1 AND number = 3;
--> CORRECTIONS_BROKEN first/life event 1/3

-- a hold that never waited for its time
UPDATE transaction_events SET recorded_at = '2025-12-31'
    WHERE ledger_id = :'life' AND transaction_sequence = 2 AND number = 2;
UPDATE entries SET recorded_at = '2025-12-31'
    WHERE ledger_id = :'life' AND transaction_sequence = 2 AND event = 2;
UPDATE transactions SET voided_at = '2025-12-31' WHERE ledger_id = :'life' AND sequence = 2;
--> DONE_BEFORE_IT_WAS_DUE first/life event 2/2
--> ENTRY_TIME_DECREASES first/life entry cash/3
--> ENTRY_TIME_DECREASES first/life entry wallet/3
--> EVENT_TIME_DECREASES first/life event 2/2
--> STATUS_TIME_WRONG first/life transaction 2

-- a reversal reversed
UPDATE transactions SET reverses_sequence = 5 WHERE ledger_id = :'life' AND sequence = 6;
--> REVERSAL_OF_WHAT_CANNOT_BE first/life transaction 6

-- an entry moved to another organization
UPDATE entries SET organization_id = :'foreign_organization' WHERE account_id = :'bank';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account bank
--> ACCOUNT_VERSION_WRONG first/main account bank
--> ENTRIES_UNBALANCED first/main event 2/1
--> ENTRIES_UNBALANCED second/main event 2/1
--> ENTRY_WITHOUT_EVENT second/main line 2/4
--> ENTRY_WITHOUT_TRANSACTION second/main line 2/4
--> LINES_BROKEN second/main line 2/4
--> ENTRY_WITHOUT_ACCOUNT second/main entry bank/1

-- an account moved to another organization
UPDATE accounts SET organization_id = :'foreign_organization' WHERE account_id = :'bank';
--> POSTED_UNBALANCED first/main currency USD
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES second/main account bank
--> ACCOUNT_VERSION_WRONG second/main account bank
--> ACCOUNT_WITHOUT_CURRENCY second/main account bank
--> ENTRIES_UNBALANCED first/main event 2/1
--> ENTRIES_UNBALANCED first/main event 2/1
--> ENTRY_WITHOUT_ACCOUNT first/main entry bank/1

-- a transaction moved to another organization
UPDATE transactions SET organization_id = :'foreign_organization'
    WHERE ledger_id = :'ledger' AND sequence = 9;
--> LAST_SEQUENCE_WRONG first/main ledger main
--> STATUS_TIME_WRONG second/main transaction 9
--> TRANSACTION_ENTRIES_TOO_FEW second/main transaction 9
--> TRANSACTION_SEQUENCES_BROKEN second/main transaction 9
--> TRANSACTION_WITHOUT_EVENT second/main transaction 9
--> TRANSACTION_WITHOUT_LEDGER second/main transaction 9
--> EVENT_WITHOUT_TRANSACTION first/main event 9/1
--> ENTRY_WITHOUT_TRANSACTION first/main line 9/1
--> ENTRY_WITHOUT_TRANSACTION first/main line 9/2

-- an event moved to another organization
UPDATE transaction_events SET organization_id = :'foreign_organization'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 9;
--> STATUS_TIME_WRONG first/main transaction 9
--> TRANSACTION_WITHOUT_EVENT first/main transaction 9
--> EVENT_ENTRIES_TOO_FEW second/main event 9/1
--> EVENT_WITHOUT_TRANSACTION second/main event 9/1
--> ENTRY_WITHOUT_EVENT first/main line 9/1
--> ENTRY_WITHOUT_EVENT first/main line 9/2

-- a ledger moved to another organization
UPDATE ledgers SET organization_id = :'foreign_organization' WHERE ledger_id = :'ledger';
--> LAST_SEQUENCE_WRONG second/main ledger main
--> CURRENCY_WITHOUT_LEDGER first/main currency EUR
--> CURRENCY_WITHOUT_LEDGER first/main currency USD
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 1
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 2
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 3
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 4
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 5
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 6
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 7
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 8
--> TRANSACTION_WITHOUT_LEDGER first/main transaction 9

-- an entry moved to another ledger of the organization
UPDATE entries SET ledger_id = :'other' WHERE account_id = :'bank';
--> EVENT_EFFECTS_WRONG first/other event 2/1
--> ENTRIES_UNBALANCED first/other event 2/1
--> ENTRIES_UNBALANCED first/main event 2/1
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/other line 2/4
--> ENTRY_TIME_NOT_OF_EVENT first/other line 2/4
--> LINES_BROKEN first/other line 2/4
--> ENTRY_WITHOUT_ACCOUNT first/other entry bank/1

-- an entry lost
DELETE FROM entries WHERE account_id = :'wallet' AND sequence = 4;
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account wallet
--> STATUS_WRONG first/main transaction 4
--> EVENT_ENTRIES_TOO_FEW first/main event 4/1
--> ENTRIES_UNBALANCED first/main event 4/1
--> HOLD_EXCEEDED first/main transaction 4
--> LINES_BROKEN first/main line 4/2
--> BALANCES_AFTER_BROKEN first/main entry wallet/5
--> ENTRY_SEQUENCES_BROKEN first/main entry wallet/5

-- an entry repeated
INSERT INTO entries SELECT * FROM entries WHERE account_id = :'bank';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account bank
--> ENTRIES_UNBALANCED first/main event 2/1
--> LINES_BROKEN first/main line 2/4
--> BALANCES_AFTER_BROKEN first/main entry bank/1
--> ENTRY_SEQUENCES_BROKEN first/main entry bank/1

-- two versions swapped
UPDATE entries SET sequence = 7 - sequence WHERE account_id = :'wallet' AND sequence IN (3, 4);
--> BALANCES_AFTER_BROKEN first/main entry wallet/3
--> BALANCES_AFTER_BROKEN first/main entry wallet/4
--> BALANCES_AFTER_BROKEN first/main entry wallet/5
--> ENTRY_TIME_DECREASES first/main entry wallet/4

-- a direction turned
UPDATE entries SET direction = 'debit' WHERE account_id = :'dollars';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account dollars
--> ENTRIES_UNBALANCED first/main event 2/1
--> BALANCES_AFTER_BROKEN first/main entry dollars/1

-- a floor never kept
UPDATE accounts SET available_floor = 601 WHERE account_id = :'wallet';
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/10
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/11
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/13
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/14
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/15
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/16
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/17
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/18
--> AVAILABLE_BELOW_FLOOR first/main entry wallet/8

-- a floor since a version to come
UPDATE accounts SET floor_version = 2 WHERE account_id = :'dollars';
--> ACCOUNT_MALFORMED first/main account dollars

-- totals below zero
UPDATE accounts SET pending_debits = -1, pending_credits = -1 WHERE account_id = :'bank';
UPDATE entries SET pending_debits = -1, pending_credits = -1 WHERE account_id = :'bank';
--> ACCOUNT_MALFORMED first/main account bank
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account bank
--> BALANCES_AFTER_BROKEN first/main entry bank/1
--> ENTRY_MALFORMED first/main entry bank/1

-- pending totals that do not follow
UPDATE entries SET pending_debits = pending_debits + 1, pending_credits = pending_credits - 1
    WHERE account_id = :'cash' AND sequence = 18;
--> BALANCES_AFTER_BROKEN first/main entry cash/18
--> BALANCES_AFTER_NOT_OF_ACCOUNT first/main entry cash/18

-- an unknown direction
UPDATE entries SET direction = 'left' WHERE account_id = :'dollars';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account dollars
--> ENTRIES_UNBALANCED first/main event 2/1
--> BALANCES_AFTER_BROKEN first/main entry dollars/1
--> ENTRY_MALFORMED first/main entry dollars/1

-- an unknown effect
UPDATE entries SET effect = 'undo' WHERE account_id = :'dollars';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account dollars
--> EVENT_EFFECTS_WRONG first/main event 2/1
--> ENTRIES_UNBALANCED first/main event 2/1
--> ENTRIES_UNBALANCED first/main event 2/1
--> HOLD_EXCEEDED first/main transaction 2
--> ENTRY_MALFORMED first/main entry dollars/1

-- an amount beyond the largest
UPDATE entries SET amount = 1000000000000000000000000000000000001 WHERE account_id = :'dollars';
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account dollars
--> ENTRIES_UNBALANCED first/main event 2/1
--> BALANCES_AFTER_BROKEN first/main entry dollars/1
--> ENTRY_MALFORMED first/main entry dollars/1

-- lines not in order of events
UPDATE entries SET line = 5 - line WHERE ledger_id = :'ledger' AND transaction_sequence = 3;
--> LINES_BROKEN first/main line 3/3

-- an unknown kind of event
UPDATE transaction_events SET kind = 'undone'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 3 AND number = 2;
--> EVENT_KIND_WRONG first/main event 3/2

-- a hold made by a settlement
UPDATE transaction_events SET kind = 'settled'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 8;
--> EVENT_EFFECTS_WRONG first/main event 8/1
--> EVENT_KIND_WRONG first/main event 8/1

-- a settlement that only released
UPDATE transaction_events SET kind = 'settled'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 5 AND number = 2;
--> EVENT_EFFECTS_WRONG first/main event 5/2

-- a void that settled
UPDATE transaction_events SET kind = 'voided'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 4 AND number = 3;
--> EVENT_EFFECTS_WRONG first/main event 4/3

-- a void called posted
UPDATE transactions SET status = 'posted', posted_at = voided_at, voided_at = NULL
    WHERE ledger_id = :'ledger' AND sequence = 5;
--> STATUS_WRONG first/main transaction 5

-- a settlement called voided
UPDATE transactions SET status = 'voided', voided_at = posted_at, posted_at = NULL
    WHERE ledger_id = :'ledger' AND sequence = 7;
--> STATUS_WRONG first/main transaction 7

-- a done transaction called pending
UPDATE transactions SET status = 'pending', posted_at = NULL
    WHERE ledger_id = :'ledger' AND sequence = 1;
--> STATUS_WRONG first/main transaction 1

-- a void at another time
UPDATE transactions SET voided_at = created_at WHERE ledger_id = :'ledger' AND sequence = 5;
--> STATUS_TIME_WRONG first/main transaction 5

-- a settlement made effective at another time
UPDATE entries SET effective_at = '2020-01-01'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 4 AND line = 3;
--> EFFECTIVE_TIME_NOT_OF_TRANSACTION first/main line 4/3

-- a transaction repeated
INSERT INTO transactions
    SELECT *
    FROM transactions
    WHERE ledger_id = :'ledger' AND sequence = 2;
--> TRANSACTION_EXTERNAL_ID_REPEATED first/main transaction 2
--> TRANSACTION_EXTERNAL_ID_REPEATED first/main transaction 2
--> TRANSACTION_ID_REPEATED first/main transaction 2
--> TRANSACTION_ID_REPEATED first/main transaction 2
--> TRANSACTION_SEQUENCES_BROKEN first/main transaction 2

-- an event repeated
INSERT INTO transaction_events
    SELECT *
    FROM transaction_events
    WHERE ledger_id = :'ledger' AND transaction_sequence = 8;
--> EVENT_NUMBERS_BROKEN first/main event 8/1
--> IDEMPOTENCY_KEY_REPEATED first/main event 8/1
--> IDEMPOTENCY_KEY_REPEATED first/main event 8/1

-- a hold within a hold
UPDATE transaction_events SET kind = 'held'
    WHERE ledger_id = :'ledger' AND transaction_sequence = 3 AND number = 2;
--> EVENT_EFFECTS_WRONG first/main event 3/2
--> EVENT_KIND_WRONG first/main event 3/2

-- a pending total too high
UPDATE accounts SET pending_debits = pending_debits + 1 WHERE account_id = :'wallet';
--> PENDING_UNBALANCED first/main currency EUR
--> ACCOUNT_TOTALS_NOT_OF_ENTRIES first/main account wallet
--> BALANCES_AFTER_NOT_OF_ACCOUNT first/main entry wallet/18

-- TEMPLATE_WITHOUT_LEDGER
INSERT INTO transaction_templates
    VALUES (:'organization', gen_random_uuid(), 1, :'foreign', 'order', NULL, '{}', now(), NULL, NULL);
--> TEMPLATE_WITHOUT_LEDGER first/foreign template order/1

-- TEMPLATE_VERSIONS_BROKEN
INSERT INTO transaction_templates
    SELECT :'organization', :'ledger', version, :'ledger', 'order', NULL, '{}', now(), now(), NULL
    FROM unnest(ARRAY[1, 2, 2, 3]) version;
--> TEMPLATE_VERSIONS_BROKEN first/main template order/2
--> TEMPLATE_VERSIONS_BROKEN first/main template order/3

-- TEMPLATE_USE_WITHOUT_TRANSACTION
INSERT INTO transaction_templates
    VALUES (:'organization', gen_random_uuid(), 1, :'ledger', 'order', NULL, '{}', now(), NULL, NULL);
INSERT INTO template_uses VALUES (:'organization', :'ledger', 999, 'order', 1, '{}');
--> TEMPLATE_USE_WITHOUT_TRANSACTION first/main template use 999

-- TEMPLATE_USE_WITHOUT_TEMPLATE
INSERT INTO transaction_templates
    VALUES (:'organization', gen_random_uuid(), 1, :'other', 'order', NULL, '{}', now(), NULL, NULL);
INSERT INTO template_uses VALUES (:'organization', :'ledger', 1, 'order', 1, '{}');
--> TEMPLATE_USE_WITHOUT_TEMPLATE first/main template use 1

-- TEMPLATE_USE_REPEATED
INSERT INTO transaction_templates
    VALUES (:'organization', gen_random_uuid(), 1, :'ledger', 'order', NULL, '{}', now(), NULL, NULL);
INSERT INTO template_uses
    SELECT :'organization', :'ledger', 1, 'order', 1, '{}' FROM generate_series(1, 2);
--> TEMPLATE_USE_REPEATED first/main template use 1
--> TEMPLATE_USE_REPEATED first/main template use 1

-- CLOSED_THROUGH_WRONG
UPDATE ledgers SET closed_through = NULL WHERE ledger_id = :'other';
--> CLOSED_THROUGH_WRONG first/other ledger other

-- PERIOD_WITHOUT_LEDGER
UPDATE period_events SET ledger_id = :'foreign' WHERE ledger_id = :'other';
--> CLOSED_THROUGH_WRONG first/other ledger other
--> PERIOD_WITHOUT_LEDGER first/foreign period 1
--> PERIOD_WITHOUT_LEDGER first/foreign period 2

-- PERIOD_WITHOUT_KEY
DELETE FROM api_keys WHERE name = 'Controller';
--> PERIOD_WITHOUT_KEY first/other period 1
--> PERIOD_WITHOUT_KEY first/other period 2

-- PERIOD_MOVE_WRONG
UPDATE period_events SET kind = 'closed' WHERE number = 2;
--> PERIOD_MOVE_WRONG first/other period 2

-- PERIOD_NUMBERS_BROKEN
DELETE FROM period_events WHERE number = 1;
--> PERIOD_MOVE_WRONG first/other period 2
--> PERIOD_NUMBERS_BROKEN first/other period 2

-- PERIOD_TIME_DECREASES
UPDATE period_events SET recorded_at = recorded_at + interval '1 hour' WHERE number = 1;
--> PERIOD_TIME_DECREASES first/other period 2

-- ENTRY_IN_CLOSED_PERIOD
UPDATE period_events SET recorded_at = '2021-01-01' WHERE number = 1;
UPDATE period_events SET closed_through = '2100-01-01' WHERE number = 1;
--> ENTRY_IN_CLOSED_PERIOD first/other entry cash/1
--> ENTRY_IN_CLOSED_PERIOD first/other entry cash/2
--> ENTRY_IN_CLOSED_PERIOD first/other entry cash/3
--> ENTRY_IN_CLOSED_PERIOD first/other entry wallet/1
--> ENTRY_IN_CLOSED_PERIOD first/other entry wallet/2
--> ENTRY_IN_CLOSED_PERIOD first/other entry wallet/3

-- KEPT_TOTALS_WITHOUT_ACCOUNT
INSERT INTO account_totals VALUES (:'organization', :'foreign', 15, 0, 1, 1, 1, false, 1, 0, 0, 0);
--> KEPT_TOTALS_NOT_OF_ENTRIES first/None totals foreign/15/0/1
--> KEPT_TOTALS_WITHOUT_ACCOUNT first/None totals foreign/15/0/1

-- KEPT_TOTALS_MISSING
DELETE FROM account_totals WHERE level = 14 AND sequence = 3;
--> KEPT_TOTALS_MISSING first/other totals cash/14/0/3

-- KEPT_TOTALS_REPEATED
INSERT INTO account_totals SELECT * FROM account_totals WHERE level = 15 AND sequence = 2;
--> KEPT_TOTALS_REPEATED first/other totals cash/15/0/2

-- KEPT_TOTALS_NOT_OF_ENTRIES
UPDATE account_totals SET posted_debits = posted_debits + 1 WHERE level = 15 AND sequence = 2;
--> KEPT_TOTALS_NOT_OF_ENTRIES first/other totals cash/15/0/2

-- LOT_WITHOUT_ACCOUNT
UPDATE credit_lots SET account_id = :'organization' WHERE code = 'gift lot';
--> LOT_WITHOUT_ACCOUNT first/credit credit lot first/1
--> HAS_LOTS_WRONG first/credit account wallet
--> MOVEMENT_WITHOUT_LOT first/credit lot movement wallet/6

-- LOT_REPEATED
INSERT INTO credit_lots
    SELECT (jsonb_populate_record(v, jsonb_build_object('lot_id', :'organization'::text))).*
    FROM credit_lots v WHERE code = 'promotion lot';
--> LOT_REPEATED first/credit credit lot wallet/2
--> LOT_REPEATED first/credit credit lot wallet/2
--> LOT_REMAINDER_WRONG first/credit credit lot wallet/2
--> LOT_EXPIRED_WRONG first/credit credit lot wallet/2

-- LOT_IN_OTHER_LEDGER
UPDATE credit_lots SET breakage_account_id = :'other_bank' WHERE code = 'gift lot';
--> LOT_IN_OTHER_LEDGER first/credit credit lot wallet/1

-- LOT_WITHOUT_ENTRY
UPDATE credit_lots SET number = 3 WHERE code = 'gift lot';
--> LOT_WITHOUT_ENTRY first/credit credit lot wallet/3

-- LOT_REMAINDER_WRONG
UPDATE credit_lots SET remaining = 89 WHERE code = 'gift lot';
--> LOT_REMAINDER_WRONG first/credit credit lot wallet/1

-- LOT_EXPIRED_WRONG
UPDATE credit_lots SET expired = 29 WHERE code = 'promotion lot';
--> LOT_EXPIRED_WRONG first/credit credit lot wallet/2

-- LOT_OVERDRAWN
UPDATE credit_lots SET expired = 11 WHERE code = 'gift lot';
--> LOT_EXPIRED_WRONG first/credit credit lot wallet/1
--> LOT_OVERDRAWN first/credit credit lot wallet/1

-- LOT_NEVER_DUE
UPDATE credit_lots SET due_at = NULL WHERE code = 'gift lot';
--> LOT_NEVER_DUE first/credit credit lot wallet/1

-- LOT_DUE_TOO_EARLY
UPDATE credit_lots SET due_at = now() WHERE code IN ('gift lot', 'promotion lot');
--> LOT_DUE_TOO_EARLY first/credit credit lot wallet/1
--> LOT_DUE_TOO_EARLY first/credit credit lot wallet/2

-- HAS_LOTS_WRONG
UPDATE accounts SET has_lots = (name = 'cash') WHERE ledger_id = :'credit';
--> HAS_LOTS_WRONG first/credit account cash
--> HAS_LOTS_WRONG first/credit account wallet

-- LOTS_BEYOND_POSTED
UPDATE credit_lots SET amount = 101, remaining = 91 WHERE code = 'gift lot';
--> LOT_WITHOUT_ENTRY first/credit credit lot wallet/1
--> LOTS_BEYOND_POSTED first/credit account wallet

-- MOVEMENT_WITHOUT_LOT
UPDATE lot_movements SET lot_id = :'organization' WHERE sequence = 6;
--> LOT_REMAINDER_WRONG first/credit credit lot wallet/1
--> MOVEMENT_WITHOUT_LOT first/credit lot movement wallet/6

-- MOVEMENT_REPEATED
UPDATE lot_movements SET amount = 5 WHERE sequence = 6;
INSERT INTO lot_movements SELECT * FROM lot_movements WHERE sequence = 6;
--> MOVEMENT_REPEATED first/credit lot movement wallet/6
--> MOVEMENT_REPEATED first/credit lot movement wallet/6

-- MOVEMENT_WITHOUT_ENTRY
UPDATE lot_movements SET sequence = 5 WHERE sequence = 6;
--> MOVEMENT_WITHOUT_ENTRY first/credit lot movement wallet/5

-- MOVEMENTS_BEYOND_ENTRY
UPDATE lot_movements SET amount = 11 WHERE sequence = 6;
UPDATE credit_lots SET remaining = 89 WHERE code = 'gift lot';
--> MOVEMENTS_BEYOND_ENTRY first/credit lot movement wallet/6

-- MOVEMENT_KIND_WRONG
UPDATE lot_movements SET kind = 'spent' WHERE sequence = 4;
UPDATE credit_lots SET expired = 0 WHERE code = 'promotion lot';
--> MOVEMENT_KIND_WRONG first/credit lot movement wallet/4

-- LOT_EXPIRED_EARLY
UPDATE credit_lots SET expires_at = '2100-01-01' WHERE code = 'promotion lot';
--> LOT_EXPIRED_EARLY first/credit lot movement wallet/4

-- RECONCILIATION_ASTRAY
UPDATE reconciliations SET account_id = :'wallet' WHERE status = 'closed';
--> RECONCILED_BALANCE_WRONG first/bank reconciliation …
--> RECONCILIATION_ASTRAY first/bank reconciliation …
--> TIMING_DIFFERENCE_WRONG first/bank reconciliation …
--> MATCH_MEMBER_ASTRAY first/bank entry 1 of match …
--> MATCH_MEMBER_ASTRAY first/bank entry 2 of match …
--> DISCREPANCY_ASTRAY first/bank discrepancy …

-- RECONCILIATION_EVENTS_BROKEN
DELETE FROM reconciliation_events WHERE kind = 'rejected';
--> RECONCILIATION_EVENTS_BROKEN first/bank reconciliation …

-- RECONCILIATION_NOT_OF_EVENTS
UPDATE reconciliations SET status = 'open', closed_at = NULL WHERE status = 'closed';
--> BROUGHT_FORWARD_WRONG first/bank reconciliation …
--> RECONCILIATION_NOT_OF_EVENTS first/bank reconciliation …

-- CLOSED_WITH_WORK_LEFT
UPDATE reconciliations SET status = 'closed', closed_at = now() WHERE status = 'open';
--> CLOSED_WITH_WORK_LEFT first/bank reconciliation …
--> RECONCILIATION_NOT_OF_EVENTS first/bank reconciliation …

-- BRIDGE_WRONG
UPDATE reconciliations SET statement_balance = 94 WHERE status = 'closed';
--> BRIDGE_WRONG first/bank reconciliation …
--> BROUGHT_FORWARD_WRONG first/bank reconciliation …
--> STATED_BALANCE_WRONG first/bank reconciliation …

-- RECONCILED_BALANCE_WRONG
UPDATE reconciliations SET ledger_balance = 92, statement_balance = 92 WHERE status = 'closed';
--> RECONCILED_BALANCE_WRONG first/bank reconciliation …
--> STATED_BALANCE_WRONG first/bank reconciliation …

-- STATED_BALANCE_WRONG
UPDATE external_statements SET closing_balance = 94 WHERE closing_balance = 93;
--> STATED_BALANCE_WRONG first/bank reconciliation …

-- BRIDGE_ITEMS_WRONG
UPDATE reconciliations SET items = jsonb_set(items, '{5,count}', '2') WHERE status = 'open';
--> BRIDGE_ITEMS_WRONG first/bank reconciliation …

-- TIMING_DIFFERENCE_WRONG
UPDATE reconciliations
SET items = items || '[{"kind": "timing_difference", "count": 2, "amount": "0"}]' || '[
    {"kind": "timing_difference", "count": 1, "amount": "7"},
    {"kind": "brought_forward", "count": 1, "amount": "-7"}]'
WHERE status = 'closed';
--> BROUGHT_FORWARD_WRONG first/bank reconciliation …
--> TIMING_DIFFERENCE_WRONG first/bank reconciliation …

-- BROUGHT_FORWARD_WRONG
UPDATE reconciliations
SET ledger_balance = 90, items = '[{"kind": "brought_forward", "count": 1, "amount": "3"}]'
WHERE status = 'closed';
--> BROUGHT_FORWARD_WRONG first/bank reconciliation …
--> BROUGHT_FORWARD_WRONG first/bank reconciliation …
--> RECONCILED_BALANCE_WRONG first/bank reconciliation …

-- RECONCILIATION_COUNTS_WRONG
UPDATE reconciliations SET counts = jsonb_set(counts, '{matched_lines}', '3')
WHERE status = 'closed';
--> RECONCILIATION_COUNTS_WRONG first/bank reconciliation …

-- RECONCILIATION_EVENT_ASTRAY
UPDATE reconciliation_events SET api_key_id = :'ledger' WHERE kind = 'rejected';
--> RECONCILIATION_EVENT_ASTRAY first/bank event 3 of reconciliation …

-- RECONCILIATION_EVENT_KIND_WRONG
UPDATE reconciliation_events SET kind = 'forgotten' WHERE kind = 'rejected';
--> RECONCILIATION_EVENT_KIND_WRONG first/bank event 3 of reconciliation …

-- RUN_EVENT_WITHOUT_RUN
DELETE FROM reconciliation_runs WHERE confirmed = 1;
--> RUN_EVENT_WITHOUT_RUN first/bank event 2 of reconciliation …

-- RUN_ASTRAY
UPDATE reconciliation_runs SET ledger_id = :'ledger' WHERE status = 'waiting';
--> RUN_ASTRAY first/main run …

-- RUN_REPEATED
INSERT INTO reconciliation_runs SELECT * FROM reconciliation_runs WHERE status = 'waiting';
--> RUN_REPEATED first/bank run …
--> RUN_REPEATED first/bank run …

-- RUN_NOT_OF_EVENT
UPDATE reconciliation_runs SET confirmed = 2 WHERE confirmed = 1;
--> RUN_NOT_OF_EVENT first/bank run …

-- MATCH_WITHOUT_RECONCILIATION
UPDATE reconciliation_matches SET ledger_id = :'ledger' WHERE rule = 'end-to-end id';
--> MATCH_WITHOUT_RECONCILIATION first/main match …

-- MATCH_NOT_OF_MEMBERS
UPDATE reconciliation_match_lines SET number = 8 WHERE number = 4;
--> MATCH_NOT_OF_MEMBERS first/bank match …
--> DISCREPANCY_OF_WHAT_IS_MATCHED first/bank discrepancy …

-- MATCH_DIFFERENCE_WRONG
UPDATE reconciliation_matches SET difference = 1 WHERE rule = 'end-to-end id';
--> TIMING_DIFFERENCE_WRONG first/bank reconciliation …
--> MATCH_DIFFERENCE_UNTOLD first/bank match …
--> MATCH_DIFFERENCE_WRONG first/bank match …

-- MATCH_REACH_WRONG
UPDATE reconciliation_matches SET whole = true WHERE NOT whole;
--> MATCH_REACH_WRONG first/bank match …

-- MATCH_DIFFERENCE_UNTOLD
UPDATE reconciliation_matches SET late = false WHERE late;
--> MATCH_DIFFERENCE_UNTOLD first/bank match …
--> DISCREPANCY_NOT_OF_CAUSE first/bank discrepancy …

-- MATCH_STATUS_WRONG
UPDATE reconciliation_matches SET reason = 'forged' WHERE reason = 'of March';
--> MATCH_STATUS_WRONG first/bank match …

-- MATCH_MEMBER_ASTRAY
UPDATE reconciliation_match_lines SET confirmed = false WHERE number = 1;
--> RECONCILIATION_COUNTS_WRONG first/bank reconciliation …
--> MATCH_MEMBER_ASTRAY first/bank line 1 of match …

-- MATCHED_TWICE
INSERT INTO reconciliation_match_entries
SELECT e.organization_id, m.match_id, e.account_id, e.sequence, e.reconciliation_id, true
FROM reconciliation_match_entries e JOIN reconciliation_matches m ON m.reason = 'of March'
WHERE e.sequence = 1;
--> MATCH_DIFFERENCE_WRONG first/bank match …
--> MATCH_NOT_OF_MEMBERS first/bank match …
--> MATCHED_TWICE first/bank entry 1 of match …
--> MATCHED_TWICE first/bank entry 1 of match …

-- REJECTION_ASTRAY
UPDATE reconciliation_rejections SET number = 12;
--> REJECTION_ASTRAY first/bank rejection 12/7

-- REJECTION_REPEATED
INSERT INTO reconciliation_rejections SELECT * FROM reconciliation_rejections;
--> REJECTION_REPEATED first/bank rejection 7/7
--> REJECTION_REPEATED first/bank rejection 7/7

-- DISCREPANCY_WITHOUT_RECONCILIATION
UPDATE reconciliation_discrepancies SET ledger_id = :'ledger' WHERE kind = 'currency_mismatch';
--> DISCREPANCY_WITHOUT_RECONCILIATION first/main discrepancy …

-- DISCREPANCY_ASTRAY
UPDATE reconciliation_discrepancies SET account_id = :'wallet' WHERE kind = 'currency_mismatch';
--> DISCREPANCY_ASTRAY first/bank discrepancy …

-- DISCREPANCY_NOT_OF_CAUSE
UPDATE reconciliation_discrepancies SET day = day + 1 WHERE kind = 'currency_mismatch';
--> DISCREPANCY_NOT_OF_CAUSE first/bank discrepancy …

-- DISCREPANCY_ID_WRONG
UPDATE reconciliation_discrepancies SET discrepancy_id = :'ledger'
WHERE kind = 'currency_mismatch';
--> DISCREPANCY_ID_WRONG first/bank discrepancy main

-- DISCREPANCY_OF_WHAT_IS_MATCHED
INSERT INTO reconciliation_match_entries
SELECT organization_id, match_id, account_id, 7, reconciliation_id, confirmed
FROM reconciliation_match_entries WHERE sequence = 5;
--> MATCH_DIFFERENCE_WRONG first/bank match …
--> MATCH_NOT_OF_MEMBERS first/bank match …
--> DISCREPANCY_OF_WHAT_IS_MATCHED first/bank discrepancy …

-- DISCREPANCY_STATUS_WRONG
UPDATE reconciliation_discrepancies SET status = 'open' WHERE status = 'accepted';
--> RECONCILIATION_COUNTS_WRONG first/bank reconciliation …
--> DISCREPANCY_STATUS_WRONG first/bank discrepancy …

-- RESOLUTION_WITHOUT_TRANSACTION
UPDATE reconciliation_discrepancies SET transaction_sequence = 99 WHERE status = 'resolved';
--> RESOLUTION_WITHOUT_TRANSACTION first/bank discrepancy …

-- RESOLUTION_AMOUNT_WRONG
UPDATE reconciliation_discrepancies SET transaction_sequence = 3 WHERE status = 'resolved';
--> RESOLUTION_AMOUNT_WRONG first/bank discrepancy …
--> RESOLUTION_NOT_MATCHED first/bank discrepancy …
--> RESOLUTION_NOT_OF_EVENT first/bank discrepancy …

-- RESOLUTION_NOT_MATCHED
UPDATE reconciliation_discrepancies d SET resolved_match_id = m.match_id
FROM reconciliation_matches m WHERE d.status = 'resolved' AND m.rule = 'end-to-end id';
--> RESOLUTION_NOT_MATCHED first/bank discrepancy …

-- RESOLUTION_NOT_OF_EVENT
UPDATE reconciliation_discrepancies SET reason = 'forged' WHERE reason = 'known';
--> RESOLUTION_NOT_OF_EVENT first/bank discrepancy …

-- STATEMENT_WITHOUT_ACCOUNT
UPDATE account_statements SET ledger_id = :'life' WHERE number = 2;
--> STATEMENT_WITHOUT_ACCOUNT first/life statement wallet/2
--> STATEMENT_CONTENT_WRONG first/life statement wallet/2

-- STATEMENT_REPEATED
UPDATE account_statements SET idempotency_key = 'first';
--> STATEMENT_REPEATED first/stated statement wallet/1
--> STATEMENT_REPEATED first/stated statement wallet/2

-- STATEMENT_NUMBERS_BROKEN
UPDATE account_statements SET account_version = 1 WHERE number = 2;
--> STATEMENT_NUMBERS_BROKEN first/stated statement wallet/2
--> STATEMENT_TOTALS_NOT_OF_ENTRIES first/stated statement wallet/2
--> STATEMENT_CONTENT_WRONG first/stated statement wallet/2

-- STATEMENT_PREVIOUS_WRONG
UPDATE account_statements SET previous_number = NULL WHERE number = 2;
--> STATEMENT_PREVIOUS_WRONG first/stated statement wallet/2
--> STATEMENT_CONTENT_WRONG first/stated statement wallet/2

-- STATEMENT_TOTALS_NOT_OF_ENTRIES
UPDATE account_statements SET closing_credits = closing_credits + 1 WHERE number = 1;
--> STATEMENT_TOTALS_NOT_OF_ENTRIES first/stated statement wallet/1
--> STATEMENT_CONTENT_WRONG first/stated statement wallet/1

-- STATEMENT_CONTENT_WRONG
UPDATE transactions SET description = 'something else' WHERE ledger_id = :'stated' AND sequence = 3;
--> STATEMENT_CONTENT_WRONG first/stated statement wallet/2

-- SCHEDULE_WITHOUT_LEDGER
UPDATE statement_schedules SET ledger_id = :'foreign';
--> SCHEDULE_WITHOUT_LEDGER first/foreign statement schedule stated/monthly

-- SCHEDULE_NEVER_DUE
UPDATE statement_schedules SET due_at = NULL;
--> SCHEDULE_NEVER_DUE first/stated statement schedule stated/monthly

-- SETTLEMENT_WITHOUT_PAYOUT
UPDATE settlements SET settlement_id = :'organization' WHERE number = 2;
UPDATE settlement_entries SET settlement_id = :'organization' WHERE round = 2;
--> SETTLEMENT_WITHOUT_PAYOUT first/stated settlement wallet/2

-- SETTLEMENT_NUMBERS_BROKEN
UPDATE settlements SET number = 3 WHERE number = 2;
--> SETTLEMENT_NUMBERS_BROKEN first/stated settlement wallet/3

-- SETTLEMENT_NOT_OF_ENTRIES
DELETE FROM settlement_entries WHERE round = 1 AND sequence = 2;
UPDATE settlement_entries SET round = 1 WHERE sequence = 2;
--> SETTLEMENT_NOT_OF_ENTRIES first/stated settlement wallet/1

-- SETTLEMENT_RELEASE_WRONG
UPDATE settlements SET released_sequence = 7 WHERE number = 1;
--> SETTLEMENT_RELEASE_WRONG first/stated settlement wallet/1

-- ENTRIES_NEVER_SETTLED
UPDATE settlements SET open_from = 8 WHERE number = 2;
--> ENTRIES_NEVER_SETTLED first/stated settlement wallet/2

-- SETTLED_ENTRY_ASTRAY
UPDATE settlement_entries SET sequence = 4 WHERE sequence = 3 AND round = 2;
UPDATE settlement_entries SET round = 1 WHERE sequence = 4;
UPDATE settlements SET up_to = (
        SELECT effective_at FROM entries WHERE account_id = :'stated_wallet' AND sequence = 4
    ) WHERE number = 2;
--> SETTLEMENT_NOT_OF_ENTRIES first/stated settlement wallet/2
--> ENTRIES_NEVER_SETTLED first/stated settlement wallet/2
--> SETTLED_ENTRY_ASTRAY first/stated settled entry wallet/4, round 1

-- SETTLED_ROUNDS_BROKEN
UPDATE settlement_entries SET round = 3 WHERE sequence = 1 AND round = 2;
--> SETTLED_ROUNDS_BROKEN first/stated settled entry wallet/1, round 3

-- ENTRY_SETTLED_TWICE
UPDATE settlements SET released_sequence = NULL WHERE number = 1;
DELETE FROM settlement_entries WHERE sequence > 1 AND round = 2;
UPDATE settlements SET amount = 1000, entry_count = 1 WHERE number = 2;
--> SETTLEMENT_WITHOUT_PAYOUT first/stated settlement wallet/2
--> SETTLEMENT_RELEASE_WRONG first/stated settlement wallet/1
--> ENTRIES_NEVER_SETTLED first/stated settlement wallet/2
--> ENTRY_SETTLED_TWICE first/stated settled entry wallet/1, round 1
--> ENTRY_SETTLED_TWICE first/stated settled entry wallet/1, round 2

-- EXTERNAL_ACCOUNT_WITHOUT_ACCOUNT
UPDATE external_accounts SET account_id = :'other_cash' WHERE external_account_id = :'giro';
--> EXTERNAL_ACCOUNT_WITHOUT_ACCOUNT first/life external account giro

-- EXTERNAL_ACCOUNT_REPEATED
INSERT INTO external_accounts SELECT * FROM external_accounts WHERE external_account_id = :'giro';
--> EXTERNAL_ACCOUNT_REPEATED first/life external account giro
--> EXTERNAL_ACCOUNT_REPEATED first/life external account giro

-- STATEMENTS_NOT_COUNTED
UPDATE external_accounts SET last_statement = 3 WHERE external_account_id = :'giro';
--> STATEMENTS_NOT_COUNTED first/life external account giro

-- STATEMENT_LINES_NOT_COUNTED
UPDATE external_accounts SET last_line = 4 WHERE external_account_id = :'giro';
--> STATEMENT_LINES_NOT_COUNTED first/life external account giro

-- STATEMENT_WITHOUT_EXTERNAL_ACCOUNT
UPDATE external_statements SET ledger_id = :'other' WHERE number = 1 AND external_account_id = :'giro';
--> STATEMENT_WITHOUT_EXTERNAL_ACCOUNT first/other external statement giro/1

-- STATEMENT_WITHOUT_IMPORT
UPDATE external_statements SET import_id = :'giro' WHERE number = 1 AND external_account_id = :'giro';
--> IMPORT_IN_PART first/life statement import giro
--> STATEMENT_WITHOUT_IMPORT first/life external statement giro/1

-- EXTERNAL_STATEMENT_REPEATED
UPDATE external_statements SET number = 2 WHERE number = 1 AND external_account_id = :'giro';
--> EXTERNAL_STATEMENT_REPEATED first/life external statement giro/2
--> EXTERNAL_STATEMENT_REPEATED first/life external statement giro/2

-- STATEMENT_LINES_MISSING
UPDATE statement_lines SET position = 9 WHERE number = 3 AND external_account_id = :'giro';
--> STATEMENT_LINES_MISSING first/life external statement giro/1

-- STATEMENT_LINES_MISSING and a line that is gone
DELETE FROM statement_lines WHERE number = 5 AND external_account_id = :'giro';
--> STATEMENT_LINES_MISSING first/life external statement giro/2
--> STATEMENT_LINES_NOT_COUNTED first/life external account giro
--> STATEMENT_TOTAL_WRONG first/life external statement giro/2

-- STATEMENT_TOTAL_WRONG
UPDATE statement_lines SET amount = 501 WHERE number = 1 AND external_account_id = :'giro';
--> STATEMENT_TOTAL_WRONG first/life external statement giro/1

-- STATEMENT_LINE_WITHOUT_STATEMENT
UPDATE statement_lines SET external_statement_id = :'giro' WHERE number = 1 AND external_account_id = :'giro';
--> STATEMENT_LINES_MISSING first/life external statement giro/1
--> STATEMENT_LINE_WITHOUT_STATEMENT first/None statement line giro/1
--> STATEMENT_TOTAL_WRONG first/life external statement giro/1

-- STATEMENT_LINE_REPEATED
UPDATE statement_lines SET fingerprint = (SELECT fingerprint FROM statement_lines WHERE number = 1
    AND external_account_id = :'giro')
    WHERE number = 5 AND external_account_id = :'giro';
--> STATEMENT_LINE_REPEATED first/life statement line giro/1
--> STATEMENT_LINE_REPEATED first/life statement line giro/5

-- LINE_REPEATS_NOTHING
UPDATE statement_line_repeats SET number = 9 WHERE number = 2 AND external_account_id = :'giro';
--> LINE_REPEATS_NOTHING first/life repeat of statement line giro/9
--> STATEMENT_TOTAL_WRONG first/life external statement giro/2

-- IMPORT_WITHOUT_EXTERNAL_ACCOUNT
UPDATE statement_imports SET ledger_id = :'other' WHERE lines_known = 0 AND external_account_id = :'giro';
--> IMPORT_WITHOUT_EXTERNAL_ACCOUNT first/other statement import giro

-- IMPORT_IN_PART
UPDATE statement_imports SET lines_new = 3 WHERE lines_known = 0 AND external_account_id = :'giro';
--> IMPORT_IN_PART first/life statement import giro
