"""Tables in and out: bytes of CSV, JSONL and text to Arrow and back, streaming."""
