"""The public contract of requests and answers, shared by HTTP and the command line."""
