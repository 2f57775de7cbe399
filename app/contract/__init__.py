"""The public contract of a request and its answer, shared by HTTP and the command line."""
