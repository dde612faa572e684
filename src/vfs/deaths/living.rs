//! Clients in threads: nobody waits for ever for a dead one.
