"""Benchmark of installations: import times, and the table of measurements."""

import sys
from pathlib import Path

from promptweight.benchmarks.installation import IMPORTS, Installation, report_lines, time_import


def test_import_is_timed_and_a_failing_one_has_no_time():
    seconds = time_import(Path(sys.executable), "import json", rounds=1)
    assert seconds is not None
    assert 0 < seconds < 60
    assert time_import(Path(sys.executable), "import no_such_module", rounds=1) is None


def test_table_has_a_row_for_each_installation():
    times = dict.fromkeys(IMPORTS, 0.25) | {IMPORTS[2]: None}
    header, rule, row = report_lines([Installation(".[ui]", 91, 5884.2, times)])
    assert header.count("|") == rule.count("|") == row.count("|")
    assert row == "| .[ui] | 91 | 5884 | 0.25 s | 0.25 s | - |"
