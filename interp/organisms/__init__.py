"""Organisms: small models whose truth is known, the worlds they live in, and how they are made."""
