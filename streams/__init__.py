"""Everything that can fail or wait: the Kafka stream, the Redis ledger, health, metrics, the embedded pair."""
