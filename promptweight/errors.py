"""Exception tree of promptweight: every error that it raises on purpose.

PromptweightError
├── ModelError          a model cannot be found, read or trusted
├── FileFormatError     a file is damaged or has another format   (also a ValueError)
├── WordNotFoundError   a word is not in the prompt               (also a LookupError)
├── SettingError        an argument has an invalid value          (also a ValueError)
└── AttachError         a pipeline cannot be recorded             (also a RuntimeError)
"""


class PromptweightError(Exception):
    """Base class of all errors that promptweight raises on purpose."""


class ModelError(PromptweightError):
    """A model cannot be found, read or trusted."""


class FileFormatError(PromptweightError, ValueError):
    """A file is damaged, or its content has another format than expected."""


class WordNotFoundError(PromptweightError, LookupError):
    """A requested word or phrase is not in the prompt."""


class SettingError(PromptweightError, ValueError):
    """An argument has an invalid value."""


class AttachError(PromptweightError, RuntimeError):
    """A pipeline cannot be recorded, or a session records it already."""
