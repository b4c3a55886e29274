from .dial import calibrate_objects as calibrate_objects
from .noising import record_scene as record_scene
from .report.acceptance import make_metric_table as make_metric_table
from .report.acceptance import measure_acceptance as measure_acceptance
from .report.document import metrics_to_list as metrics_to_list
from .report.run import write_report as write_report
