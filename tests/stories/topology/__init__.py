"""Redis beyond one server: failover, resharding, TLS and ACLs, on real Sentinels and clusters."""
