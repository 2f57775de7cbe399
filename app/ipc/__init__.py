"""How the processes of one service talk: messages, shared memory, pipes, a directory."""
