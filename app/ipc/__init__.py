"""Communication between the processes of a service: messages, shared memory, pipes, a directory."""
