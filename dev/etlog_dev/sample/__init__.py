"""The sample ETL: it meters the machine that it runs on, and its stages publish events.

    meter ──▶ set of 10 s ──▶ set of the minute        one process per category: allocation, asset
                  └──────┬──────────┘
                    reconciler ──▶ reconciled sets      another process

Assets are the machine's cores, memory and disks; allocations are its processes, and the files on its disks. Sets are
JSON files, in one folder per category and resolution: `allocation/10s/2026-01-01T10-00-00Z.json`.
"""
