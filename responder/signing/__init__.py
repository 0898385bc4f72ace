"""What signs: keys, who may sign for a CA, and the answers, CRLs and certificates that are signed."""
