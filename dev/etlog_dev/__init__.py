"""What development needs and production does not: the embedded store, the sample ETL, and `etlog dev`."""
