"""The world **dispatch**: a demand shared out over generators in merit order."""
