from .noising import look_at as look_at
from .report.acceptance import run as run
from .report.acceptance import table as table
from .report.document import to_list as to_list
from .report.run import report as report
