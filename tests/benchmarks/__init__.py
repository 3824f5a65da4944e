"""Benchmarks: our server beside plain PostgreSQL on the same machine, in the same minutes.

    python -m tests.benchmarks [--quick] [names…]

Absolute figures say more of the machine than of us, so every measure is a ratio of medians over
rounds in which all that is compared runs in turn. Nothing here is a test with a time limit: a
figure below its bar is shown, and does not fail anything. What does fail the run is a wrong answer:
a request that was not answered as it should, or books that do not hold what was acknowledged.

    stage.py        one embedded PostgreSQL, a migrated database, the real server, a tenant
    load.py         the client: a process of its own, so that its CPU is told apart
    pgbench.py      the reference: one plpgsql call and one commit a posting (reference.sql)
    measuring.py    samples, rounds, medians, ratios and how they are printed
    *_measures.py   what is compared with what
"""
