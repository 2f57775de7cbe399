"""The commands of `kosmos2-client`, one module per command.

Each module has `add_parser(subparsers)`, which returns the parser of its options, and
`run(arguments)`, which returns the exit code.
"""
