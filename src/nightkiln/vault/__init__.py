"""Files: the data plane. Locks, input segments, journals, parts and what is published."""
