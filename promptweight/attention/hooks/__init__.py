"""Hooks in a model's attention layers: processors, their installation, and their control during a run."""
