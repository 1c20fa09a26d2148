"""The language: from a `.tdsl` text to a checked graph, and back to text."""
