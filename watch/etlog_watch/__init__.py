"""The process that tells people of problems: it judges every log, and sends a message when one opens or ends."""
