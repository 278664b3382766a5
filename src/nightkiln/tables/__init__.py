"""Tables in and out: CSV, JSONL, text, Parquet and XLSX to Arrow and back, streaming."""
