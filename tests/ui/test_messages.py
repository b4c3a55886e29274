"""The library's messages on the page, in the language of the page."""

import pytest

from promptweight.errors import SettingError
from promptweight.messages import catalog, message
from promptweight_ui import validation
from promptweight_ui.i18n import message_catalog, message_in_all_languages, translate_message


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_page_texts_replace_only_known_codes(language):
    assert set(message_catalog(language)) == set(catalog(language))
    differing = {code for code, text in message_catalog(language).items() if text != catalog(language)[code]}
    assert "lora-unused" in differing


def test_message_is_shown_in_the_language_of_the_page():
    made = message("integer-range", name=message("height"), value=3, lowest=8, highest=16)
    assert str(made) == "height must be between 8 and 16; got 3"
    assert translate_message("pt-br", made) == "a altura está em 3; precisa ficar entre 8 e 16"
    assert translate_message("en", made) == str(made)
    assert message_in_all_languages(made) == {"en": str(made), "pt-br": translate_message("pt-br", made)}


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_typed_text_in_a_message_is_never_html(language):
    typed = "<img src=x onerror=alert(1)>{0}{name}\udc00"
    shown = str(validation.as_page_error(language, SettingError(message("grid-word-missing", word=typed))))
    assert "<img" not in shown
    assert "&lt;img" in shown
    assert "{0}{name}" in shown


def test_plain_error_text_is_marked_as_english_on_the_portuguese_page():
    assert translate_message("pt-br", "no such thing") == "Mensagem da biblioteca, em inglês: no such thing"
    assert translate_message("en", "no such thing") == "no such thing"
