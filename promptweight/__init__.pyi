from . import errors as errors
from . import weighting as weighting
from .attention import attach as attach
from .conditioning import encode as encode
from .generation import Edit as Edit
from .generation import Result as Result
from .generation import edit as edit
from .generation import generate as generate
from .generation import solve as solve
from .maps import AttentionMaps as AttentionMaps
from .models import load as load
from .prompt import convert as convert
from .prompt import detect as detect
from .prompt import expand as expand
from .prompt import nudge as nudge
from .prompt import parse as parse
from .prompt import schedule as schedule

__version__: str
