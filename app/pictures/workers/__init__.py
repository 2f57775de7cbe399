"""Opens users' pictures in separate processes, because a picture may crash its process."""
