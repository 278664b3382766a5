"""How the pilot is made: a grammar of tickets, a tokenizer, a small Llama, a GGUF file.

Run as `python tools/train_pilot`. Nothing in the product imports this.
"""
