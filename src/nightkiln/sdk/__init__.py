"""nightkiln from Python: submit tables, wait, and get the same kind of table back.

A face over `app`, like the command line: it knows people, notebooks and frames,
and nothing of how a job is run. `nightkiln` itself offers its names, lazily.
"""
