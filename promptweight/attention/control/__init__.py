"""Control of attention: weights, target shares, prompt-to-prompt edits, and composition of prompts."""
