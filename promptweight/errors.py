"""The errors that promptweight raises on purpose.

PromptweightError
├── ModelError          a model cannot be found, read or trusted
├── WordNotFoundError   a word was asked for that the prompt does not hold   (also a LookupError)
├── SettingError        a setting has a value outside its range              (also a ValueError)
└── AttachError         a pipeline cannot be recorded or is recorded already (also a RuntimeError)
"""


class PromptweightError(Exception):
    """The root of every error that promptweight raises on purpose."""


class ModelError(PromptweightError):
    """A model cannot be found, read or trusted."""


class WordNotFoundError(PromptweightError, LookupError):
    """A word was asked for that the prompt does not hold."""


class SettingError(PromptweightError, ValueError):
    """A setting has a value outside its range."""


class AttachError(PromptweightError, RuntimeError):
    """A pipeline cannot be recorded, or is being recorded already."""
