"""Reports of the evaluation: sections, tables, plots, files and the acceptance test.

- `run`: the measurements of a report, one after the other
- `subject`: the evaluated model and the size of the measurements
- `fidelity_section`, `localization_section`, `faithfulness_section`, `response_section`, `targets_section`,
  `negative_section`, `reach_section`, `warning_section`: one measurement each, as a section with tables and
  plots
- `document`: metrics, tables, plots and sections as data
- `writers`: Markdown, JSON and SVG files
- `acceptance`: the metrics of a built-in model against their bars
"""
