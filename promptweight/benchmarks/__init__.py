"""Benchmarks of promptweight: speed and memory of attention hooks, batches and parsers.

- `attention`: calls of a denoising model, plain, recorded, weighted, and with a naive softmax
- `gpu`: the same of all models on a GPU, as a Markdown table (`python -m promptweight.benchmarks.gpu`)
- `models`: the models that `attention` measures, in full size with random weights
- `batch`: images per second of batches, against a plain loop over the pipeline
- `encoding`: weighted prompts, against the encoding of the pipeline
- `peers`: encoding, parsing and recording beside other tools (`promptweight bench --peers`)
- `installation`: size and import times of an installation (`python -m promptweight.benchmarks.installation`)
- `scale`: planning, balance and restarts of a million images on a thousand machines, simulated
- `parser`: parsing time by dialect and prompt size
"""
