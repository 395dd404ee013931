"""Simulations whose truth is known: how often intervals cover, and tests reject."""
