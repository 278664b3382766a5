"""The command line: options in, tables and sentences out. The only layer that prints."""
