"""The unroll with a hand-written backward pass, so that work shared by all K steps runs once. See `unroll.py`."""
