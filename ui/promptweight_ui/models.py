"""Models and samplers that the server offers; browsers choose names and never paths.

A model is loaded at its first use and stays loaded; with more than `max_loaded`, the least recently used
one is released. `use` gives a model to one run at a time.
"""

from __future__ import annotations

import copy
import gc
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, RLock
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.errors import PromptweightError
from promptweight_ui.model_facts import ModelFacts, facts_of, read_facts
from promptweight_ui.samplers import sampler_names, schedule_names, split_sampler
from promptweight_ui.threads import start_thread
from promptweight_ui.turns import Turns

if TYPE_CHECKING:
    from promptweight.conditioning import TokenTable
    from promptweight.models import PromptTokenizer
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline

_IMPORTING = RLock()
_IMPORTED = Event()


def import_engine() -> None:
    """Import torch, diffusers and everything else that runs models, in one thread at a time.

    Two threads cannot import their lazy modules at once: one of them would see a partial module. Every part
    of the app that needs them calls this function first.
    """
    if _IMPORTED.is_set():
        return
    with _IMPORTING:
        from promptweight.models import silence_libraries

        with silence_libraries():
            from promptweight.attention import attach  # noqa: F401
            from promptweight.conditioning import encode  # noqa: F401
            from promptweight.generation import generate  # noqa: F401
            from promptweight.models import apply_adapters, load  # noqa: F401
            from promptweight.weighting import get_method  # noqa: F401
        _IMPORTED.set()


def has_engine() -> bool:
    """Return whether `import_engine` has finished."""
    return _IMPORTED.is_set()


class Models:
    """The models that the server offers.

    Args:
        names: arguments of `promptweight.load`; the first is selected at first.
        max_loaded: how many models stay loaded.
        options: further arguments of `promptweight.load`.

    Attributes:
        names: the names for browsers; of a folder or a file only the last part.
        turns: the turns at all models.
    """

    def __init__(self, names: Sequence[str] = ("mini",), max_loaded: int = 1, **options: Any) -> None:
        self._sources = _browser_names(dict.fromkeys(names))
        self.names = tuple(self._sources)
        self._max_loaded, self._options = max_loaded, options
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._tokenizers: dict[str, list[PromptTokenizer]] = {}
        self._facts: dict[str, ModelFacts] = {}
        self.turns = Turns()
        self._tokenizing, self._loading = Lock(), Lock()

    def preload(self) -> None:
        """Begin to load the first model in a thread, so that the page does not wait for it."""

        def load() -> None:
            try:
                with self.use(self.names[0]):
                    pass
            except PromptweightError as error:
                logging.getLogger("promptweight").error("%s", error)

        start_thread("load model", load)

    def check(self, name: object) -> str:
        """Return `name` if the server offers that model.

        Raises:
            SettingError: it is not one of `names`.
        """
        validation.check_choice("model", name, self.names)
        return str(name)

    @contextmanager
    def use(self, name: object) -> Iterator[Any]:
        """Yield the pipeline of that name for one run; wait for the turn, unless the thread has it.

        Args:
            name: one of `names`.

        Raises:
            SettingError: the server does not offer the model.
            ModelError: the model cannot be loaded.
        """
        known = self.check(name)
        import_engine()
        with self.turns.hold():
            if known not in self._loaded:
                self._release_unused()
                from promptweight.models import load

                with self._loading:
                    pipe = self._loaded[known] = load(self._sources[known], **self._options)
                self._tokenizers[known] = _copy_tokenizers(pipe)
                self._facts[known] = facts_of(pipe)
            self._loaded.move_to_end(known)
            yield self._loaded[known]

    def facts(self, name: str) -> ModelFacts:
        """Return the facts of a model, those of a usual one while they are not known.

        They are known for folders on this machine, and for every model once it is loaded.
        """
        if name not in self._facts and (facts := read_facts(self._sources[name])) is not None:
            self._facts[name] = facts
        return self._facts.get(name, ModelFacts())

    def samplers(self, name: str) -> tuple[str, ...]:
        """Return the samplers of a model."""
        return sampler_names(is_flow=self.facts(name).is_flow)

    def schedules(self, name: str, sampler: str) -> tuple[str, ...]:
        """Return the noise schedules of a sampler of a model."""
        return schedule_names(sampler, is_flow=self.facts(name).is_flow)

    def split_sampler(self, name: str, sampler: object) -> tuple[str, str] | None:
        """Return sampler and noise schedule of a joined name; None if the model does not have them."""
        return split_sampler(sampler, is_flow=self.facts(name).is_flow)

    def token_tables(self, name: object, prompt: Prompt) -> tuple[TokenTable, ...] | None:
        """Return the tokens of a prompt for each text encoder; None while they are not known.

        They are not known before torch is imported, nor before a model that is not a folder is loaded.
        """
        known = self.check(name)
        if not has_engine():
            return None
        if known not in self._tokenizers:
            self._load_tokenizers(known)
        tokenizers = self._tokenizers.get(known)
        with self._tokenizing:  # two threads must not use a fast tokenizer at once
            return None if tokenizers is None else tuple(each.tokenize(prompt) for each in tokenizers)

    def _load_tokenizers(self, name: str) -> None:
        """Load the tokenizers of a model that is not loaded, unless a model is being loaded."""
        from promptweight.models import load_tokenizers

        if not self._loading.acquire(blocking=False):
            return
        try:
            self._tokenizers[name] = list(load_tokenizers(self._sources[name]))
        except PromptweightError:
            pass  # a single file, or a model that is not downloaded yet: known once it is loaded
        finally:
            self._loading.release()

    def _release_unused(self) -> None:
        while len(self._loaded) >= self._max_loaded:
            self._loaded.popitem(last=False)
            gc.collect()
            import torch

            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _browser_names(sources: Iterable[str]) -> dict[str, str]:
    """Return the argument of `load` by the name for browsers, which does not disclose a folder."""
    named: dict[str, str] = {}
    for source in sources:
        path = Path(source)
        name = base = path.resolve().name if path.exists() else source
        number = 2
        while name in named:
            name, number = f"{base} ({number})", number + 1
        named[name] = source
    return named


def _copy_tokenizers(pipe: Pipeline) -> list[PromptTokenizer]:
    """Return copies of a pipeline's tokenizers, which a run may be using at the same time."""
    from promptweight.conditioning import find_family, get_text_encoders
    from promptweight.models import PromptTokenizer

    return [
        PromptTokenizer(kind, copy.deepcopy(encoder.tokenizer), encoder.max_length)
        for kind, encoder in get_text_encoders(pipe, find_family(pipe)).items()
    ]
