"""The world **clinic**: a made-up pharmacology whose every fact is listed."""
