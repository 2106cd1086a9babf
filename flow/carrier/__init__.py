"""How messages get from a link to the mailbox at its other end: one carrier a file, all with the same behaviour."""
