"""The worlds that organisms live in: problems, documents, task, recipes and acceptance of each."""
