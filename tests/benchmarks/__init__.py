"""Benchmarks: our server beside plain PostgreSQL on the same machine, in the same minutes.

    python -m tests.benchmarks [--quick] [names…]

Absolute figures say more of the machine than of us, so every measure is a ratio of medians over
rounds in which all that is compared runs in turn. Nothing here is a test with a time limit: a
figure below its bar is shown, and does not fail anything. What does fail the run is a wrong answer:
a request that was not answered as it should, or books that do not hold what was acknowledged.

    stage.py        one embedded PostgreSQL, a migrated database, the real server, a tenant
    load.py         the client: a process of its own, so that its CPU is told apart
    pgbench.py      the reference: one plpgsql call and one commit a posting (reference.sql)
    filling.py      books with a long past, made set-wise (filling.sql)
    fronts.py       our server with one part exchanged, to see what that part costs
    postgraphile/   PostGraphile on our tables, installed by npm into the user's cache
    measuring.py    samples, rounds, medians, ratios and how they are printed
    *_measures.py   what is compared with what

The last lines are `RATIO <name> <value> <bar>`, one a measure, or `<name> not measured: <why>`.
With --quick measures are fewer and rounds short; what takes many minutes (growth) says so instead.
"""
