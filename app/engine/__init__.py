"""The engine process: a queue, a fixed set of KV slots, and continuous batching."""
