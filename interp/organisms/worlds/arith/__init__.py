"""The world **arith**: chains of operations modulo eleven."""
