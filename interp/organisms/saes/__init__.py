"""The SAEs of the bundled organisms: their texts, known variables and folders."""
