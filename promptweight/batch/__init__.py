"""Batches: many pictures from a job file, in a run that can be killed, continued, split and trusted.

    from promptweight import batch

    jobs = batch.read("prompts.txt")              # errors as file:line:column, before anything is loaded
    plan = batch.make_plan(jobs, model="mini")
    outcome = batch.run(plan, "out", batch_size=4)

The way of a job: `sources` reads rows, `sweep` multiplies them, `plan` gives each picture its id, `folder`
knows which are finished and who works on what, `engine` runs, `working` (or `on_ray`) makes the rest,
`encodings` reads the prompts, `drawing` calls the model, `saving` writes, `ledger` notes what became of each.
Reading and planning need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
