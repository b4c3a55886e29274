"""Parsers of the prompt dialects: text to parse tree."""
