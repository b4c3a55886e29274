"""The models that the server offers: a browser may choose one of their names and never gives a path.

A model is loaded when it is first needed and stays; where there are more than `keep`, the one unused for
longest goes. One run at a time has a model: `use` waits for its turn.
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
    from promptweight.prompt import Prompt

OWN = "own"
"""The sampler that a model comes with."""


WITHOUT_SCHEDULE = frozenset(
    (
        "DDIMScheduler",
        "EulerAncestralDiscreteScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "FlowMatchHeunDiscreteScheduler",
    )
)
"""Schedulers that take none of `NOISE_SCHEDULES`; written out because the page is made without diffusers."""


OTHERS = ("DDPMScheduler", "DEISMultistepScheduler", "DPMSolverSinglestepScheduler", "TCDScheduler")
"""Schedulers of diffusers for which AUTOMATIC1111 has no name."""

_IMPORTING = RLock()
_IMPORTED = Event()

USUAL_GUIDANCE = 7.5
"""Shown before a model is loaded that advises none itself."""


def import_engine() -> None:
    """Import torch, diffusers and all that runs models, in one thread at a time.

    Their lazy modules cannot be imported by two threads at once: one of them would see a half of it. So
    whatever part of the app needs them calls this before it imports anything from there.
    """
    if _IMPORTED.is_set():
        return
    with _IMPORTING:
        import promptweight.models

        with promptweight.models.quiet():
            import promptweight.attention
            import promptweight.conditioning
            import promptweight.generation.pipeline_run
            import promptweight.models.adapters
            import promptweight.weighting
        _IMPORTED.set()


def has_engine() -> bool:
    """Tell whether `import_engine` would return at once."""
    return _IMPORTED.is_set()


class Models:
    """The models that the server was started with.

    Args:
        names: what `promptweight.load` takes, the first being the one that is chosen at first.
        keep: how many stay loaded.
        settings: further arguments of `promptweight.load`.

    Attributes:
        names: what browsers call them: of a folder or a file the last part alone.
    """

    def __init__(self, names: Sequence[str] = ("mini",), keep: int = 1, **settings: Any) -> None:
        self._sources = _named(dict.fromkeys(names))
        self.names = tuple(self._sources)
        self._keep, self._settings = keep, settings
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._tokenizers: dict[str, list[Any]] = {}
        self._is_flow: dict[str, bool] = {}
        self._turn, self._counting, self._building = RLock(), Lock(), Lock()

    def preload(self) -> None:
        """Begin to load the first model in a thread of its own, so that the page need not wait for it."""

        def load() -> None:
            try:
                with self.use(self.names[0]):
                    pass
            except PromptweightError as error:
                logging.getLogger("promptweight").error("%s", error)

        Thread(target=load, name="load model", daemon=True).start()

    def checked(self, name: object) -> str:
        """Return `name` where the server offers that model.

        Raises:
            SettingError: it does not.
        """
        validation.check_choice("model", name, self.names)
        return str(name)

    @contextmanager
    def use(self, name: object, sampler: str = OWN) -> Iterator[Any]:
        """Yield the pipeline of that name, for one run alone; waits while another run has one.

        Args:
            name: one of `names`.
            sampler: what it samples with meanwhile, one of `samplers`.

        Raises:
            SettingError: the server offers no such model, or the model has no such sampler.
            ModelError: it cannot be loaded.
        """
        known = self.checked(name)
        import_engine()
        with self._turn:
            if known not in self._loaded:
                self._make_room()
                from promptweight.models import load

                with self._building:
                    pipe = self._loaded[known] = load(self._sources[known], **self._settings)
                self._tokenizers[known] = _counters(pipe)
                self._is_flow[known] = "FlowMatch" in type(pipe.scheduler).__name__
            self._loaded.move_to_end(known)
            with sampling(self._loaded[known], sampler):
                yield self._loaded[known]

    def guidance(self, name: str) -> float:
        """Return the guidance to begin with, as far as it can be known before the model is loaded."""
        try:
            advice = advice_in(find_local_folder(self._sources[name]))
        except (PromptweightError, OSError):
            advice = None
        return USUAL_GUIDANCE if advice is None else advice.guidance_scale

    def samplers(self, name: str) -> tuple[str, ...]:
        """Return the samplers that a model can be run with, as `samplers.names` has them.

        One that is neither loaded nor a folder on this machine counts as trained to predict noise.
        """
        if name not in self._is_flow:
            try:
                source = self._sources[name]
                scheduler = read_model_index(find_local_folder(source), source).get("scheduler")
            except (PromptweightError, OSError):
                return names(is_flow=False)
            self._is_flow[name] = "FlowMatch" in str(scheduler)
        return names(is_flow=self._is_flow[name])

    def count(self, name: object, prompt: Prompt) -> tuple[TokenTable, ...] | None:
        """Return the tokens of a prompt for each text encoder; None while they cannot be told.

        That is before torch has been imported, and for a model that is no folder before it is loaded.
        """
        known = self.checked(name)
        if not has_engine():
            return None
        if known not in self._tokenizers:
            self._read_tokenizers(known)
        encoders = self._tokenizers.get(known)
        with self._counting:  # fast tokenizers must not be entered twice at once
            return None if encoders is None else tuple(encoder.tokenize(prompt) for encoder in encoders)

    def _read_tokenizers(self, name: str) -> None:
        """Read the tokenizers of a model that is not loaded, unless one is being loaded at this moment."""
        from promptweight.models import text_encoders

        if not self._building.acquire(blocking=False):
            return
        try:
            self._tokenizers[name] = text_encoders(self._sources[name])
        except PromptweightError:
            pass  # a single file, or one that is still to be downloaded: counted once it is loaded
        finally:
            self._building.release()

    def _make_room(self) -> None:
        while len(self._loaded) >= self._keep:
            self._loaded.popitem(last=False)
            gc.collect()
            import torch

            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _named(sources: Iterable[str]) -> dict[str, str]:
    """Return what to load by the name that browsers see: a server's folders are nobody's business."""
    named: dict[str, str] = {}
    for source in sources:
        path = Path(source)
        name = base = path.resolve().name if path.exists() else source
        number = 2
        while name in named:
            name, number = f"{base} ({number})", number + 1
        named[name] = source
    return named


def _counters(pipe: Any) -> list[Any]:
    """Return text encoders without weights, with tokenizers of their own: a run may be using the model's."""
    from promptweight.conditioning import TextEncoder, find_family, get_text_encoders

    return [
        TextEncoder(kind, copy.deepcopy(encoder.tokenizer), None, encoder.device, encoder.max_length)
        for kind, encoder in get_text_encoders(pipe, find_family(pipe)).items()
    ]


def names(*, is_flow: bool) -> tuple[str, ...]:
    """Return the samplers that a model can be run with, `OWN` first.

    Args:
        is_flow: whether the model was trained by flow matching, as Stable Diffusion 3 and FLUX were.
    """
    table = FLOW_SAMPLERS if is_flow else SAMPLERS
    found = [
        f"{name} {schedule}".rstrip()
        for schedule in ("", *NOISE_SCHEDULES)
        for name, sampler in table.items()
        if _can_run(sampler, schedule)
    ]
    return (OWN, *found, *(() if is_flow else OTHERS))


def canonical(name: object, offered: tuple[str, ...]) -> str | None:
    """Return the one of `offered` that is written as `name`, in any case; None where there is none."""
    wanted = " ".join(str(name)[:80].split()).casefold()
    return next((each for each in offered if each.casefold() == wanted), None)


@contextmanager
def sampling(pipe: Any, name: str) -> Iterator[None]:
    """Let a pipeline sample with the sampler of that name inside, and puts its own back.

    Raises:
        SettingError: there is no such sampler for this model.
    """
    own = pipe.scheduler
    if name not in (OWN, get_sampler_name(own), type(own).__name__):
        pipe.scheduler = make_scheduler(name, own)
    try:
        yield
    finally:
        pipe.scheduler = own


def _can_run(sampler: Sampler, schedule: str) -> bool:
    if schedule and sampler.scheduler in WITHOUT_SCHEDULE:
        return False
    needs_scipy = schedule == "Beta" or sampler.scheduler == "LMSDiscreteScheduler"
    return not needs_scipy or find_spec("scipy") is not None
