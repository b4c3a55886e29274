from .methods import METHODS as METHODS
from .methods import Method as Method
from .methods import get_method as get_method
from .normalizers import Normalizer as Normalizer
from .normalizers import get_normalizer as get_normalizer
