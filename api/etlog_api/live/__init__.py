"""The live log: what is applied, as Server-Sent Events."""
