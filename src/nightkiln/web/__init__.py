"""Pages for people: what the jobs of a project do, drawn here and only to be read.

Nothing on a page changes a job, and no text of a row is ever on one.
"""
