from .prompt_widget import PromptWidget as PromptWidget
