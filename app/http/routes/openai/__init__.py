"""The door for OpenAI's clients: chat completions and models."""
