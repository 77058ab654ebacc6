"""The unroll with its backward pass written out, so that work that all K steps share is done once. See `unroll.py`."""
