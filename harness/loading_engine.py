"""An engine that loads without end, as a large model from a slow disk does for minutes."""

import signal

MODULE = "harness.loading_engine"

if __name__ == "__main__":
    signal.alarm(300)  # ends it after a test that fails
    while True:
        signal.pause()
