"""The EAGLE3 draft: its layer, its unrolled training loss, its teacher and its vocabulary."""
