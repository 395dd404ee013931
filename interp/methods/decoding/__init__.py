"""Decoding methods: hybrid decoding, answer-span confidence, pass@k."""
