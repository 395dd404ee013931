"""Certification of organisms by activation interchange."""
