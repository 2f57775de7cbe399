"""The engine process: a queue, a fixed set of KV slots, continuous batching; and its client."""
