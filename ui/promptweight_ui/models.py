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
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock, RLock, Thread
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.errors import PromptweightError
from promptweight.models import (
    FLOW_SAMPLERS,
    NOISE_SCHEDULES,
    SAMPLERS,
    Sampler,
    advice_in,
    find_local_folder,
    get_sampler_name,
    make_scheduler,
    read_model_index,
)

if TYPE_CHECKING:
    from promptweight.conditioning import TokenTable
    from promptweight.models import PromptTokenizer
    from promptweight.prompt import Prompt

OWN_SAMPLER = "own"
"""The sampler that a model comes with."""

SCHEDULERS_WITHOUT_SCHEDULE = frozenset(
    (
        "DDIMScheduler",
        "EulerAncestralDiscreteScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "FlowMatchHeunDiscreteScheduler",
    )
)
"""Schedulers without `NOISE_SCHEDULES`; listed here because the page is built without importing diffusers."""

OTHER_SCHEDULERS = ("DDPMScheduler", "DEISMultistepScheduler", "DPMSolverSinglestepScheduler", "TCDScheduler")
"""Schedulers of diffusers without a name in AUTOMATIC1111."""

_IMPORTING = RLock()
_IMPORTED = Event()

DEFAULT_GUIDANCE = 7.5
"""Guidance scale for models without one of their own."""


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
    """

    def __init__(self, names: Sequence[str] = ("mini",), max_loaded: int = 1, **options: Any) -> None:
        self._sources = _browser_names(dict.fromkeys(names))
        self.names = tuple(self._sources)
        self._max_loaded, self._options = max_loaded, options
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._tokenizers: dict[str, list[PromptTokenizer]] = {}
        self._is_flow: dict[str, bool] = {}
        self._turn, self._tokenizing, self._loading = RLock(), Lock(), Lock()

    def preload(self) -> None:
        """Begin to load the first model in a thread, so that the page does not wait for it."""

        def load() -> None:
            try:
                with self.use(self.names[0]):
                    pass
            except PromptweightError as error:
                logging.getLogger("promptweight").error("%s", error)

        Thread(target=load, name="load model", daemon=True).start()

    def check(self, name: object) -> str:
        """Return `name` if the server offers that model.

        Raises:
            SettingError: it is not one of `names`.
        """
        validation.check_choice("model", name, self.names)
        return str(name)

    @contextmanager
    def use(self, name: object, sampler: str = OWN_SAMPLER) -> Iterator[Any]:
        """Yield the pipeline of that name for one run; wait while another run has a pipeline.

        Args:
            name: one of `names`.
            sampler: the sampler inside the block, one of `samplers`.

        Raises:
            SettingError: the server does not offer the model, or the model does not have the sampler.
            ModelError: the model cannot be loaded.
        """
        known = self.check(name)
        import_engine()
        with self._turn:
            if known not in self._loaded:
                self._release_unused()
                from promptweight.models import load

                with self._loading:
                    pipe = self._loaded[known] = load(self._sources[known], **self._options)
                self._tokenizers[known] = _copy_tokenizers(pipe)
                self._is_flow[known] = "FlowMatch" in type(pipe.scheduler).__name__
            self._loaded.move_to_end(known)
            with use_sampler(self._loaded[known], sampler):
                yield self._loaded[known]

    def guidance(self, name: str) -> float:
        """Return the default guidance scale, as far as it is known without loading the model."""
        try:
            advice = advice_in(find_local_folder(self._sources[name]))
        except (PromptweightError, OSError):
            advice = None
        return DEFAULT_GUIDANCE if advice is None else advice.guidance_scale

    def samplers(self, name: str) -> tuple[str, ...]:
        """Return the samplers of a model, as `sampler_names` lists them.

        A model that is neither loaded nor a folder on this machine is assumed to predict noise.
        """
        if name not in self._is_flow:
            try:
                source = self._sources[name]
                scheduler = read_model_index(find_local_folder(source), source).get("scheduler")
            except (PromptweightError, OSError):
                return sampler_names(is_flow=False)
            self._is_flow[name] = "FlowMatch" in str(scheduler)
        return sampler_names(is_flow=self._is_flow[name])

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


def _copy_tokenizers(pipe: Any) -> list[PromptTokenizer]:
    """Return copies of a pipeline's tokenizers, which a run may be using at the same time."""
    from promptweight.conditioning import find_family, get_text_encoders
    from promptweight.models import PromptTokenizer

    return [
        PromptTokenizer(kind, copy.deepcopy(encoder.tokenizer), encoder.max_length)
        for kind, encoder in get_text_encoders(pipe, find_family(pipe)).items()
    ]


def sampler_names(*, is_flow: bool) -> tuple[str, ...]:
    """Return the samplers of a model, `OWN_SAMPLER` first.

    Args:
        is_flow: whether the model was trained by flow matching, as Stable Diffusion 3 and FLUX were.
    """
    table = FLOW_SAMPLERS if is_flow else SAMPLERS
    supported = [
        f"{name} {schedule}".rstrip()
        for schedule in ("", *NOISE_SCHEDULES)
        for name, sampler in table.items()
        if _is_supported(sampler, schedule)
    ]
    return (OWN_SAMPLER, *supported, *(() if is_flow else OTHER_SCHEDULERS))


def find_sampler(name: object, offered: tuple[str, ...]) -> str | None:
    """Return the entry of `offered` that equals `name` in any letter case; None if there is none."""
    folded = " ".join(str(name)[:80].split()).casefold()
    return next((each for each in offered if each.casefold() == folded), None)


@contextmanager
def use_sampler(pipe: Any, name: str) -> Iterator[None]:
    """Set the sampler of a pipeline inside the block, and restore its own afterwards.

    Raises:
        SettingError: the model does not have this sampler.
    """
    own = pipe.scheduler
    if name not in (OWN_SAMPLER, get_sampler_name(own), type(own).__name__):
        pipe.scheduler = make_scheduler(name, own)
    try:
        yield
    finally:
        pipe.scheduler = own


def _is_supported(sampler: Sampler, schedule: str) -> bool:
    if schedule and sampler.scheduler in SCHEDULERS_WITHOUT_SCHEDULE:
        return False
    needs_scipy = schedule == "Beta" or sampler.scheduler == "LMSDiscreteScheduler"
    return not needs_scipy or find_spec("scipy") is not None
