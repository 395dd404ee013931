"""Results: rows, run folders, figures and the report."""
