"""Batches: images from a job file, in a run that can be stopped, resumed and split across processes.

    from promptweight import batch

    jobs = batch.read_jobs("prompts.txt")         # errors as file:line:column, before a model is loaded
    plan = batch.plan_batch(jobs, model="mini")
    outcome = batch.run(plan, "out", batch_size=4)

From a file to images:

    job_files, job_rows, csv_jsonl   job files as rows of settings
    jobs                             the settings of one image and their checks
    sweep, plan                      rows × seeds × sweep = planned images, each with an id
    sharding                         the part of the plan for this process
    runner, executor                 the run, and the interface to what executes it
    worker, ray_backend              execution in this process, or by workers of a Ray cluster
    prompt_cache, renderer           parsed and encoded prompts, and the calls of the model
    oom_fallback                     smaller batches after a lack of memory
    writer, contact_sheets           the files of an image, and of a sweep
    output_folder, manifest          finished images, claims, and the log of the run
    progress                         counts, remaining time, and the request to stop

Reading and planning import no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
