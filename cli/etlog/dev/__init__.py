"""`etlog dev`: everything in one terminal, for a first look and for work on a pipeline."""
